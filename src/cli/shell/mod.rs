//! The interactive shell: the seed's words at a prompt.
//!
//! [`table`] lists the words, [`parse`] reads a line, [`compose`] asks for a mail, [`editor`] is the
//! terminal.

pub mod compose;
pub mod editor;
pub mod parse;
pub mod table;
