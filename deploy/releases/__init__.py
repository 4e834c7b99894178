"""What has been released, and what a release may do to the database while the one before it runs."""
