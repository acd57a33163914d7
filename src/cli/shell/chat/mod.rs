//! A chat at a terminal: every line typed goes to the other side, whose lines appear above.
//!
//! [`table`] has the words, [`screen`] is how it looks.

pub mod screen;
pub mod table;
