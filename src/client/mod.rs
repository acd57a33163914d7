//! A client of one server: outbox, mailbox, connection, session.
