//! The cloud-init seed, judged by programs that know nothing of it: isoinfo, blkid, Python's email
//! and YAML-free JSON.

use crate::personalise_support::*;
use stampo_core::personalisation::Personalisation;
use stampo_guest::fs::GuestRead;
use stampo_guest::personalise::{PersonaliseError, owner, personalise};

fn with_user_data(text: &str) -> Personalisation {
    Personalisation {
        user_data: Some(text.into()),
        ..request("app-1.example.org")
    }
}

/// The seed of a guest with cloud-init, in a file.
fn seed(request: &Personalisation) -> tempfile::NamedTempFile {
    let report = run(&mut debian_with_cloud_init(), request);
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), report.seed.expect("cloud-init gets a seed")).expect("written");
    file
}

fn extract(seed: &tempfile::NamedTempFile, name: &str) -> String {
    let image = seed.path().to_str().expect("text");
    let got = output("isoinfo", &["-R", "-x", &format!("/{name}"), "-i", image]);
    assert!(
        got.status.success() && !got.stdout.is_empty(),
        "{name} is not in the seed"
    );
    String::from_utf8(got.stdout).expect("text")
}

/// Every part as "type, file name, content", read by Python's email package.
fn parts(message: &str) -> Vec<(String, String, String)> {
    const READ: &str = "\
import email, json, sys
message = email.message_from_bytes(open(sys.argv[1], 'rb').read())
assert message.is_multipart() and not message.defects, message.defects
out = []
for part in message.walk():
    assert not part.defects, part.defects
    if part.is_multipart(): continue
    out.append([part.get_content_type(), part.get_filename() or '', part.get_payload(decode=True).decode()])
print(json.dumps(out))
";
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), message).expect("written");
    let got = output(
        "python3",
        &["-c", READ, file.path().to_str().expect("text")],
    );
    assert!(
        got.status.success(),
        "{}",
        String::from_utf8_lossy(&got.stderr)
    );
    serde_json::from_slice(&got.stdout).expect("json")
}

#[test]
fn the_image_has_the_label_and_modes_that_cloud_init_and_secrets_need() {
    let file = seed(&request("app-1"));
    let image = file.path().to_str().expect("text");
    let label = output("blkid", &["-o", "value", "-s", "LABEL", "-p", image]);
    assert_eq!(String::from_utf8_lossy(&label.stdout).trim(), "cidata");
    let list = output("isoinfo", &["-R", "-l", "-i", image]);
    let list = String::from_utf8_lossy(&list.stdout).into_owned();
    for name in ["meta-data", "network-config", "user-data"] {
        let line = list.lines().find(|line| line.trim_end().ends_with(name));
        let line = line.unwrap_or_else(|| panic!("{name} is missing:\n{list}"));
        assert!(
            line.starts_with("-r--------") && line.contains("   0    0"),
            "{line}"
        );
    }
    let joliet = output("isoinfo", &["-J", "-f", "-i", image]);
    assert!(String::from_utf8_lossy(&joliet.stdout).contains("/user-data"));
    assert_eq!(
        std::fs::metadata(file.path()).expect("there").len() % 2048,
        0
    );
}

#[test]
fn meta_data_names_the_guest() {
    let file = seed(&request("app-1.example.org"));
    let meta: serde_json::Value = serde_json::from_str(&extract(&file, "meta-data")).expect("json");
    assert_eq!(meta["instance-id"], context(1).guest.to_string());
    assert_eq!(meta["local-hostname"], "app-1");
    let network = extract(&file, "network-config");
    assert_eq!(
        network,
        "version: 2\nethernets:\n  00-stampo0:\n    match:\n      macaddress: \"52:53:00:00:00:01\"\n    dhcp4: true\n"
    );
}

#[test]
fn parts_are_ours_first_then_the_users() {
    let user = "#cloud-config\nhostname: \u{e9}vil\nruncmd: [[echo, \"--\"]]\n";
    let file = seed(&with_user_data(user));
    let parts = parts(&extract(&file, "user-data"));
    assert_eq!(parts.len(), 2);
    assert_eq!(
        (parts[0].0.as_str(), parts[0].1.as_str()),
        ("text/cloud-config", "10-stampo.cfg")
    );
    for line in [
        "preserve_hostname: true",
        "ssh_deletekeys: false",
        "resize_rootfs: false",
    ] {
        assert!(
            parts[0].2.contains(line),
            "{line} is missing:\n{}",
            parts[0].2
        );
    }
    assert_eq!(
        parts[1],
        ("text/cloud-config".into(), "50-user".into(), user.into())
    );
}

#[test]
fn scripts_and_templates_keep_their_kind() {
    for (text, kind) in [
        ("#!/bin/sh\necho hi\n", "text/x-shellscript"),
        ("#cloud-boothook\nx", "text/cloud-boothook"),
        ("## template: jinja\n#cloud-config\n", "text/jinja2"),
        ("#include\nhttps://example.org/x\n", "text/x-include-url"),
    ] {
        let file = seed(&with_user_data(text));
        let parts = parts(&extract(&file, "user-data"));
        assert_eq!((parts[1].0.as_str(), parts[1].2.as_str()), (kind, text));
    }
}

#[test]
fn a_mime_message_of_the_user_is_nested() {
    let user = "MIME-Version: 1.0\r\nContent-Type: multipart/mixed;\r\n boundary=\"inner\"\r\n\r\n--inner\r\nContent-Type: text/x-shellscript\r\n\r\n#!/bin/sh\necho 1\r\n--inner\r\nContent-Type: text/cloud-config\r\n\r\n#cloud-config\nx: 1\r\n--inner--\r\n";
    let file = seed(&with_user_data(user));
    let kinds: Vec<String> = parts(&extract(&file, "user-data"))
        .into_iter()
        .map(|part| part.0)
        .collect();
    assert_eq!(
        kinds,
        [
            "text/cloud-config",
            "text/x-shellscript",
            "text/cloud-config"
        ]
    );
}

#[test]
fn a_long_part_survives() {
    let user = format!("#cloud-config\n{}", "# line of a long file\n".repeat(5_000));
    let file = seed(&with_user_data(&user));
    assert_eq!(parts(&extract(&file, "user-data"))[1].2, user);
}

#[test]
fn without_cloud_init_there_is_no_seed_and_user_data_is_refused() {
    assert!(run(&mut debian(), &request("a")).seed.is_none());
    let error = refusal(debian(), &with_user_data("#cloud-config\n"));
    assert!(matches!(error, PersonaliseError::NoCloudInit), "{error}");
    let disabled = debian_with_cloud_init().file("/etc/cloud/cloud-init.disabled", "");
    assert!(matches!(
        refusal(disabled, &with_user_data("#!/bin/sh")),
        PersonaliseError::NoCloudInit
    ));
    let unknown = refusal(debian_with_cloud_init(), &with_user_data("runcmd: []\n"));
    assert!(
        matches!(unknown, PersonaliseError::UserDataKind),
        "{unknown}"
    );
}

#[test]
fn cloud_init_is_held_back_and_forgets_the_template() {
    let mut tree = debian_with_cloud_init()
        .link("/var/lib/cloud/instance", "instances/golden")
        .file(
            "/var/lib/cloud/instances/golden/user-data.txt",
            "password: build",
        )
        .file("/var/lib/cloud/data/instance-id", "golden\n");
    run(&mut tree, &request("a"));
    let config = text(&tree, "/etc/cloud/cloud.cfg.d/99-stampo.cfg");
    for line in [
        "network: {config: disabled}",
        "users: []",
        "manual_cache_clean: true",
        "preserve_hostname: true",
    ] {
        assert!(
            config.lines().any(|found| found == line),
            "{line} is missing:\n{config}"
        );
    }
    for left in ["instance", "instances", "data"] {
        assert!(
            !tree
                .exists(&format!("/var/lib/cloud/{left}"))
                .expect("readable"),
            "{left}"
        );
    }
}

#[test]
fn the_instance_of_the_guest_itself_is_not_forgotten() {
    let id = context(1).guest.to_string();
    let mut tree = debian_with_cloud_init()
        .file("/var/lib/cloud/data/instance-id", format!("{id}\n"))
        .file(&format!("/var/lib/cloud/instances/{id}/sem/x"), "");
    personalise(&mut tree, &request("renamed"), &secrets(2), &context(1)).expect("good");
    assert!(
        tree.exists(&format!("/var/lib/cloud/instances/{id}/sem/x"))
            .expect("readable")
    );
}

#[test]
fn the_guide_has_the_table_of_owners() {
    let guide =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guide/personalising.md");
    let text = std::fs::read_to_string(&guide).expect("the guide's chapter exists");
    let table = owner::markdown_table();
    assert!(
        text.contains(&table),
        "put this table into {}:\n{table}",
        guide.display()
    );
}
