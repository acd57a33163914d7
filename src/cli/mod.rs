//! `mailctl` as its users see it.
