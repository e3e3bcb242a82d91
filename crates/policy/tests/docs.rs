//! The guide's table of checks is made from the code and must be the same as it.
//!
//! To make it again: `UPDATE_DOCS=1 cargo test -p stampo-policy --test all docs`

use stampo_policy::check::{Check, Default};
use stampo_policy::checks;
use std::fmt::Write as _;
use std::path::Path;

/// What is above the table in the guide.
const BEGIN: &str = "<!-- the table of checks: made from the code -->\n";

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('~', "\\~")
}

fn settings(check: &Check) -> String {
    let setting = |param: &stampo_policy::check::Param| match param.default {
        Default::Number(number) => format!("`{}`: {number}", param.name),
        Default::List(items) if items.len() > 6 => {
            format!("`{}`: {} items", param.name, items.len())
        }
        Default::List(items) => format!("`{}`: {}", param.name, items.join(", ")),
    };
    let all: Vec<String> = check.params.iter().map(setting).collect();
    all.join("; ").replace('*', "\\*")
}

fn table() -> String {
    let mut page = String::new();
    let mut area = "";
    for check in checks() {
        let of = check.id.split('.').next().expect("checked elsewhere");
        if of != area {
            area = of;
            writeln!(page, "\n### {area}\n\n| Check | What should be so, and why | Severity | About | To mend it | Maps to | Settings |\n|---|---|---|---|---|---|---|").expect("to memory");
        }
        writeln!(
            page,
            "| `{}` | {}: {} | {} | {} | `{}` | {} | {} |",
            check.id,
            cell(check.title),
            cell(check.rationale),
            check.severity.as_str(),
            check.when.as_str(),
            cell(&check.remedy_for("NAME@N")),
            check.refs.join(", "),
            settings(check),
        )
        .expect("to memory");
    }
    page
}

#[test]
fn the_guide_has_the_table_of_the_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guide/conformity.md");
    let guide = std::fs::read_to_string(&path).expect("the guide");
    let (head, found) = guide
        .split_once(BEGIN)
        .expect("the guide says where its table begins");
    let table = table();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, format!("{head}{BEGIN}{table}")).expect("write the guide");
        return;
    }
    assert!(
        found == table,
        "docs/guide/conformity.md has not the table of the code; make it again with\n\
         UPDATE_DOCS=1 cargo test -p stampo-policy --test all docs"
    );
}

/// What is above the table of points.
const POINTS_BEGIN: &str = "<!-- the table of points: made from the code -->\n";

#[test]
fn the_guide_has_the_table_of_points() {
    let mut table = "\n| Point | Asked by | What is judged | By default | After a refusal |\n\
                     |---|---|---|---|---|\n"
        .to_owned();
    for row in stampo_policy::point::POINTS {
        let by_default = if row.by_default { "yes" } else { "no" };
        let (point, looks) = (row.point.as_str(), row.looks.as_str());
        let (commands, refused) = (row.commands, row.refused);
        writeln!(
            table,
            "| {point} | {commands} | {looks} | {by_default} | {refused} |"
        )
        .expect("to memory");
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guide/conformity.md");
    let guide = std::fs::read_to_string(&path).expect("the guide");
    let (head, rest) = guide.split_once(POINTS_BEGIN).expect("its place");
    let (found, tail) = rest.split_once("\nWhat is judged from").expect("its end");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        let page = format!("{head}{POINTS_BEGIN}{table}\nWhat is judged from{tail}");
        std::fs::write(&path, page).expect("write the guide");
        return;
    }
    assert_eq!(found, table);
}

#[test]
fn the_guide_s_pack_is_a_pack() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guide/conformity.md");
    let guide = std::fs::read_to_string(path).expect("the guide");
    let (_, rest) = guide.split_once("```yaml\n").expect("an example");
    let (text, _) = rest.split_once("```").expect("it ends");
    let pack = stampo_policy::Pack::parse(text).expect("the example is a pack");
    assert!(!pack.exceptions.is_empty() && pack.rules.len() > 70);
}
