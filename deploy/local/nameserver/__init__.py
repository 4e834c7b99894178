"""A small DNS server, in which anybody can publish anything: the world's name servers, for one machine."""
