//! Frames of others: none of them lets anything in.
