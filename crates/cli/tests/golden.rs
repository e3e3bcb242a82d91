//! What the program prints, word for word: help of every verb, errors with their exit codes.
//!
//! A change of these is a change for people and scripts: look at it, then accept it with
//! `INSTA_UPDATE=always cargo test -p stampo-cli`.

use clap::{Command as Clap, CommandFactory};
use std::path::Path;
use std::process::Command;

/// The help of a verb and of everything below it.
fn help(command: &mut Clap, path: &str, into: &mut Vec<(String, String)>) {
    let name = format!("{path}{}", command.get_name());
    into.push((
        name.clone(),
        command
            .clone()
            .term_width(100)
            .render_long_help()
            .to_string(),
    ));
    let verbs: Vec<String> = command
        .get_subcommands()
        .map(|c| c.get_name().to_owned())
        .collect();
    for verb in verbs.iter().filter(|verb| *verb != "help") {
        let below = command.find_subcommand_mut(verb).expect("listed");
        help(below, &format!("{name} "), into);
    }
}

#[test]
fn help_of_every_verb() {
    let mut all = Vec::new();
    let mut command = stampo_cli::args::Cli::command();
    command.build();
    help(&mut command, "", &mut all);
    assert!(all.len() > 25, "every verb is looked at");
    let text: Vec<String> = all
        .iter()
        .map(|(name, help)| format!("==== {name}\n{help}"))
        .collect();
    insta::assert_snapshot!("help", text.join("\n"));
}

/// Runs the program in a new home; its exit code and everything it printed.
fn run(home: &Path, args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_stampo"))
        .args(args)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("STAMPO_HOME", home.join("home"))
        .current_dir(home)
        .output()
        .expect("the program starts");
    let text =
        |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(&home.display().to_string(), "[DIR]");
    format!(
        "$ stampo {}\n{}{}exit {}\n",
        args.join(" "),
        text(&output.stdout),
        text(&output.stderr),
        output.status.code().unwrap_or(-1)
    )
}

#[test]
fn wrong_input_is_refused_before_anything_is_made() {
    let dir = tempfile::tempdir().expect("a directory");
    let home = dir.path();
    std::fs::write(
        home.join("bad.toml"),
        "release = \"bookworm\"\npakages = [\"x\"]\n",
    )
    .expect("written");
    std::fs::write(home.join("spec.toml"), "cpu = 2\n").expect("written");
    std::fs::write(home.join("key"), "-----BEGIN OPENSSH PRIVATE KEY-----\n").expect("written");
    std::fs::write(home.join("text.qcow2"), "not an image").expect("written");
    let cases: &[&[&str]] = &[
        &["ps"],
        &["template", "ls"],
        &["ps", "-o", "json"],
        &["show", "nobody"],
        &["start", "nobody"],
        &["template", "show", "web"],
        &["template", "build", "web", "-f", "missing.toml"],
        &["template", "build", "web", "-f", "bad.toml"],
        &["template", "build", "Web", "-f", "bad.toml"],
        &[
            "template",
            "import",
            "web",
            "text.qcow2",
            "--format",
            "vmdk",
        ],
        &[
            "template",
            "import",
            "web",
            "missing.raw",
            "--format",
            "raw",
        ],
        &[
            "template",
            "import",
            "web",
            "text.qcow2",
            "--format",
            "qcow2",
            "--sha256",
            "12",
        ],
        &[
            "template",
            "import",
            "web",
            "text.qcow2",
            "--format",
            "qcow2",
        ],
        &["template", "publish", "web@1"],
        &["template", "revoke", "web@1"],
        &[
            "template", "revoke", "web@1", "--reason", "leaks", "--cve", "2026-1",
        ],
        &["template", "deprecate", "web@1", "--obsolete-on", "soon"],
        &["template", "hold", "web@1", "--reason", "court"],
        &["template", "end-of-life", "web@1"],
        &["template", "channel", "set", "web:latest", "web@1"],
        &["template", "channel", "rollback", "web:stable"],
        &["template", "channel", "history", "web"],
        &["clone", "web", "a"],
        &["clone", "web@0", "a"],
        &["clone", "web", "a", "--spec", "spec.toml"],
        &["clone", "web", "a", "--ssh-key", "key"],
        &["clone", "web", "a", "--memory", "lots"],
        &["clone", "web", "a", "--full", "--linked"],
        &["clone", "web", "a", "--address", "192.0.2.1"],
        &["cp", "a", "b"],
        &["rm", "a", "--keep", "soon"],
        &["resize", "a"],
        &["passport"],
        &["operation", "cancel", "x"],
        &["sbom", "web"],
        &["sbom", "web", "--format", "text"],
        &["template", "updates", "web@1"],
        &["template", "diff", "web@1", "web@2"],
        &["cve", "2026-1"],
        &["cve", "CVE-2026-12345"],
        &["vulndb", "status"],
        &["vulndb", "import", "missing"],
        &["vulndb", "import", "key"],
        &["vulndb", "import", "."],
        &["vulndb", "scan"],
        &["template", "ls", "--all"],
    ];
    let text: Vec<String> = cases.iter().map(|args| run(home, args)).collect();
    insta::assert_snapshot!("refusals", text.join("\n"));
    let left: Vec<_> = ["images", "guests", "staging", "trash"]
        .iter()
        .flat_map(|name| {
            std::fs::read_dir(home.join("home").join(name))
                .into_iter()
                .flatten()
                .flatten()
        })
        .map(|entry| entry.path())
        .collect();
    assert!(left.is_empty(), "nothing was made: {left:?}");
}

#[test]
fn a_damaged_catalog_is_named_with_the_next_command() {
    let dir = tempfile::tempdir().expect("a directory");
    let home = dir.path();
    let mut said = vec![run(home, &["store", "scrub"])];
    let catalog = home.join("home/catalog.db");
    let sound = ["store", "rescan", "--replace-damaged"];
    said.push(run(home, &sound));
    std::fs::write(&catalog, "no catalog at all\n".repeat(500)).expect("written");
    let cases: &[&[&str]] = &[
        &["ps"],
        &["store", "scrub"],
        &["store", "rescan"],
        &["store", "rescan", "--replace-damaged"],
        &["ps"],
        &["store", "scrub", "--older-than", "7d", "-o", "json"],
        &["store", "scrub", "--older-than", "soon"],
        &["store", "scrub", "--limit", "10K"],
    ];
    said.extend(cases.iter().map(|args| run(home, args)));
    let text = without_times(&said.join("\n"));
    insta::assert_snapshot!("damaged_catalog", text);
    let moved = std::fs::read_dir(home.join("home")).expect("listed");
    let moved = moved.flatten().map(|entry| entry.file_name());
    let moved = moved.filter(|name| name.to_string_lossy().starts_with("catalog-damaged-"));
    assert_eq!(moved.count(), 1, "nothing is deleted");
}

/// The text without how long something took and when it was.
fn without_times(text: &str) -> String {
    let lines = text.lines().map(|line| {
        let words = line
            .split(' ')
            .map(|word| match word.split_once("damaged-") {
                Some((before, _)) => format!("{before}damaged-[TIME].db"),
                None => word.to_owned(),
            });
        let words: Vec<String> = words.collect();
        match words.iter().rposition(|word| word == "ms") {
            Some(at) => {
                let rest = words[at + 1..].join(" ");
                format!("{} [TOOK] {}", words[0], rest.trim())
            }
            None => words.join(" "),
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn completions_and_man_pages_are_made_for_every_verb() {
    let dir = tempfile::tempdir().expect("a directory");
    for shell in ["bash", "zsh", "fish"] {
        let script = run(dir.path(), &["completions", shell]);
        assert!(
            script.contains("passport") && script.ends_with("exit 0\n"),
            "{shell}"
        );
    }
    let said = run(dir.path(), &["man", "pages"]);
    assert!(said.ends_with("exit 0\n"), "{said}");
    let pages = std::fs::read_dir(dir.path().join("pages"))
        .expect("listed")
        .count();
    assert!(pages > 25, "{pages}");
}
