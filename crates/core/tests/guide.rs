//! The guide's table of states is the code's.

use stampo_core::lifecycle::guide_table;

#[test]
fn the_guide_has_the_table_of_states() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/guide/lifecycle.md");
    let guide = std::fs::read_to_string(path).expect("docs/guide/lifecycle.md");
    let begin = guide
        .find("| State | New clones |")
        .expect("the table of states");
    let end = guide[begin..]
        .find("\n\n")
        .map_or(guide.len(), |at| begin + at + 1);
    let (table, has) = (guide_table(), &guide[begin..end]);
    if has != table && std::env::var_os("UPDATE_DOCS").is_some() {
        let page = format!("{}{table}{}", &guide[..begin], &guide[end..]);
        std::fs::write(path, page).expect("write the guide");
        return;
    }
    assert_eq!(
        has, table,
        "make it again with UPDATE_DOCS=1 cargo test -p stampo-core --test guide"
    );
}
