//! Each file of the committed corpora, once.

use std::path::Path;

fn each(target: &str, run: fn(&[u8])) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let mut count = 0;
    for entry in std::fs::read_dir(directory).expect("a corpus") {
        run(&std::fs::read(entry.expect("an entry").path()).expect("bytes"));
        count += 1;
    }
    assert!(count > 0, "the corpus is empty");
}

#[test]
fn values_of_the_corpus_pass() {
    each("values", kache_fuzz::values::run);
}

#[test]
fn words_of_the_corpus_pass() {
    each("words", kache_fuzz::words::run);
}

#[test]
fn events_of_the_corpus_pass() {
    each("events", kache_fuzz::events::run);
}

#[test]
fn messages_of_the_corpus_pass() {
    each("messages", kache_fuzz::messages::run);
}

#[test]
fn tables_of_the_corpus_pass() {
    each("table", kache_fuzz::table::run);
}

#[test]
fn texts_of_the_corpora_pass() {
    each("argv", kache_fuzz::text::argv);
    each("dep_info", kache_fuzz::text::dep_info);
    each("link_report", kache_fuzz::text::link_report);
    each("template", kache_fuzz::text::template);
}
