//! What `cargo fuzz` runs: one small program a parser, all of them made by [`target!`].
//!
//! The table of parsers, with what must hold for each, is [`parsers`]; `tests/corpora.rs` of the main
//! package runs the same table over the corpora, without any of this crate.

#[path = "parsers/mod.rs"]
pub mod parsers;

/// Makes the program of one parser.
#[macro_export]
macro_rules! target {
    ($name:ident) => {
        libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
            $crate::parsers::find(stringify!($name)).expect("the table has it")(bytes);
        });
    };
}
