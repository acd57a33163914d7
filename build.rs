//! Links `sync_file_range` as sled is to have it into every program that opens a store.

fn main() {
    const SOURCE: &str = "src/store/sled/sync_file_range.c";
    println!("cargo:rerun-if-changed={SOURCE}");
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        cc::Build::new()
            .file(SOURCE)
            .warnings_into_errors(true)
            // Whole: the linker would take it from an archive only where the name is still open.
            .link_lib_modifier("+whole-archive")
            .compile("correio_sync_file_range");
    }
}
