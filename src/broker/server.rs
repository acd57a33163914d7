//! Part of the shell.
