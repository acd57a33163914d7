//! Conn.
