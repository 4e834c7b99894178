-- Mail as it was accepted. Ids grow with time and are never used twice.
CREATE TABLE IF NOT EXISTS messages (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  received_at REAL NOT NULL,     -- Unix time
  sender TEXT NOT NULL,          -- the envelope's; empty for the null reverse-path
  recipients TEXT NOT NULL,      -- the envelope's, a JSON array
  from_address TEXT NOT NULL,    -- of the From header, in lower case
  subject TEXT NOT NULL,
  content BLOB NOT NULL
);

-- The envelope's recipients in lower case, to find mail by.
CREATE TABLE IF NOT EXISTS recipients (
  address TEXT NOT NULL,
  message_id INTEGER NOT NULL,
  PRIMARY KEY (address, message_id)
) WITHOUT ROWID;

-- Bounces and complaints that are still to be sent.
CREATE TABLE IF NOT EXISTS reports (
  id INTEGER PRIMARY KEY,
  recipient TEXT NOT NULL,
  content BLOB NOT NULL,
  due_at REAL NOT NULL,
  attempts INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS reports_due ON reports (due_at);
