//! The server's settings: flags over environment over file over default.
