//! The interactive shell: the seed's words at a prompt.
//!
//! [`table`] lists the words, [`parse`] reads a line.

pub mod parse;
pub mod table;
