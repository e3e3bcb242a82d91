//! The guide's table of seal items is made from the code and must be the same as it.
//!
//! To make it again: `UPDATE_DOCS=1 cargo test -p stampo-guest --test all seal_docs`

use stampo_guest::seal::items::TABLE;
use stampo_guest::seal::{Action, SealItem};
use std::fmt::Write as _;
use std::path::Path;

const HEAD: &str = "# What sealing does, item by item\n\n\
    This page is made from the table in `crates/guest/src/seal/items.rs`. To make it again:\n\
    `UPDATE_DOCS=1 cargo test -p stampo-guest --test all seal_docs`.\n\n\
    *remove*: files, links and directories go. *empty*: files stay with owner and mode, without\n\
    content. *rewrite*: changed inside, or given a fixed content. *regenerate*: removed, and made\n\
    again in each clone by the unit that is named. *notice*: not changed, but told. *keep*: the\n\
    same in every clone on purpose. Items marked *on request* are done only with `--also ITEM`.\n\
    `~` stands for every home directory, `**` for any number of directories.\n\n\
    Two more ids stand for what sealing adds: `first-boot-unit`, which makes what was removed, and\n\
    `guest-agent`. See [Sealing a template](sealing.md).\n";

fn action(item: &SealItem) -> String {
    let detail = match item.action {
        Action::Regenerate(unit) => format!(" by `{unit}`"),
        Action::Notice(_, remedy) => format!(": {}", cell(remedy)),
        Action::Link(target) => format!(" as a link to `{target}`"),
        _ => String::new(),
    };
    let optional = if item.optional { ", on request" } else { "" };
    format!("{}{detail}{optional}", item.action.name())
}

/// Text for a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
        .replace('~', "\\~")
        .replace('*', "\\*")
}

fn page() -> String {
    let mut page = HEAD.to_owned();
    for (area, rows) in TABLE {
        writeln!(
            page,
            "\n## {area}\n\n| Item | What and where | Action | Why |\n|---|---|---|---|"
        )
        .expect("to memory");
        for item in *rows {
            let paths: Vec<String> = item.paths.iter().map(|path| format!("`{path}`")).collect();
            let (what, action, why) = (cell(item.what), action(item), cell(item.why));
            writeln!(
                page,
                "| `{}` | {what}: {} | {action} | {why} |",
                item.id,
                paths.join(" ")
            )
            .expect("to memory");
        }
    }
    page
}

#[test]
fn the_guide_has_the_table_of_the_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guide/seal-items.md");
    let page = page();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::create_dir_all(path.parent().expect("it has one")).expect("make docs/guide");
        std::fs::write(&path, &page).expect("write the guide");
    }
    let guide = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        guide == page,
        "docs/guide/seal-items.md is not the table of the code; make it again with\n\
         UPDATE_DOCS=1 cargo test -p stampo-guest --test all seal_docs"
    );
}
