//! An inspection of whole systems, small ones in memory.

use stampo_guest::fs::Owner;
use stampo_guest::fs::tree::TreeFixture;
use stampo_guest::inspect::inspect_tree;
use stampo_guest::inspect::packages::PackageManager;
use stampo_guest::inspect::services::Origin;

fn debian() -> TreeFixture {
    let program = [&[0x7f, b'E', b'L', b'F', 2, 1][..], &[0; 12], &[62, 0]].concat();
    TreeFixture::new()
        .link("/lib", "usr/lib")
        .link("/bin", "usr/bin")
        .file("/usr/bin/sh", program)
        .file("/usr/lib/os-release", "ID=debian\nVERSION_ID=\"12\"\n")
        .link("/etc/os-release", "../usr/lib/os-release")
        .file("/etc/hostname", "web\n")
        .link("/etc/localtime", "/usr/share/zoneinfo/Europe/Berlin")
        .file("/etc/default/locale", "LANG=\"de_DE.UTF-8\"\n")
        .file("/boot/vmlinuz-6.1.0-41-amd64", "k")
        .file("/boot/initrd.img-6.1.0-41-amd64", "i")
        .dir("/usr/lib/modules/6.1.0-41-amd64")
        .dir("/usr/lib/modules/5.10.0-1-amd64")
        .file("/var/lib/dpkg/status", "Package: cloud-init\nStatus: install ok installed\nVersion: 22.4\n")
        .file("/usr/bin/cloud-init", "#!")
        .file("/etc/cloud/cloud.cfg", "datasource_list: [ConfigDrive]\n")
        .file("/etc/cloud/cloud.cfg.d/90_dpkg.cfg", "datasource_list: [NoCloud]\n")
        .link("/var/lib/cloud/instance", "instances/i-1")
        .file("/usr/sbin/qemu-ga", "x")
        .file("/usr/lib/udev/rules.d/60-qemu-guest-agent.rules", "x")
        .link("/etc/systemd/system/multi-user.target.wants/ssh.service", "/lib/systemd/system/ssh.service")
        .link("/etc/systemd/system/cups.service", "/dev/null")
        .link("/usr/lib/systemd/system/sysinit.target.wants/x.service", "../x.service")
        .link("/usr/lib/systemd/system/default.target", "graphical.target")
        .link("/etc/rc2.d/S01cron", "../init.d/cron")
        .link("/etc/rc2.d/S01dbus", "../init.d/dbus")
        .file("/usr/lib/systemd/system/dbus.service", "[Unit]\n")
        .file("/etc/ssh/sshd_config", "Include /etc/ssh/sshd_config.d/*.conf\nPasswordAuthentication yes\nMatch User x\nPermitRootLogin yes\n")
        .file("/etc/ssh/sshd_config.d/50.conf", "PasswordAuthentication no\n")
        .file("/etc/sudoers.d/90-x", "anna ALL=(ALL) NOPASSWD:ALL\n")
        .file("/etc/sudoers.d/README.x", "anna ALL=(ALL) NOPASSWD:ALL\n")
        .file_as("/usr/bin/su", "123", Owner { uid: 0, gid: 0, mode: 0o4755 })
        .file_as("/srv/open", "1234567", Owner { uid: 0, gid: 0, mode: 0o666 })
}

#[test]
fn a_debian_system_is_described() {
    let seen = inspect_tree(&debian());
    let os = seen.os.expect("it has an os-release");
    assert_eq!(
        (os.id.as_str(), os.arch.as_deref()),
        ("debian", Some("x86_64"))
    );
    assert_eq!(seen.settings.hostname.as_deref(), Some("web"));
    assert_eq!(seen.settings.time_zone.as_deref(), Some("Europe/Berlin"));
    assert_eq!(seen.settings.locale.as_deref(), Some("de_DE.UTF-8"));
    assert_eq!(seen.packages.manager, Some(PackageManager::Dpkg));
    let kernels: Vec<_> = seen
        .kernels
        .iter()
        .map(|k| {
            (
                k.release.as_str(),
                k.image.is_some(),
                k.has_initrd,
                k.has_modules,
            )
        })
        .collect();
    assert_eq!(
        kernels,
        [
            ("5.10.0-1-amd64", false, false, true),
            ("6.1.0-41-amd64", true, true, true)
        ]
    );
    assert_eq!(seen.cloud_init.datasources, ["NoCloud"]);
    assert_eq!(seen.cloud_init.version.as_deref(), Some("22.4"));
    assert!(seen.cloud_init.present && seen.cloud_init.ran && !seen.cloud_init.disabled);
    assert!(
        seen.guest_agents
            .iter()
            .any(|agent| agent.name == "qemu-guest-agent" && agent.enabled)
    );
    assert_eq!(seen.unknowns, Vec::<String>::new());
}

#[test]
fn services_are_told_with_who_wants_them() {
    let seen = inspect_tree(&debian()).services;
    assert_eq!(seen.default_target.as_deref(), Some("graphical.target"));
    let unit = |name: &str| {
        seen.units
            .iter()
            .find(|unit| unit.unit == name)
            .expect("it is listed")
    };
    assert_eq!(unit("ssh.service").wanted_by, ["multi-user.target"]);
    assert_eq!(unit("ssh.service").origin, Origin::Administrator);
    assert_eq!(unit("x.service").origin, Origin::Vendor);
    assert_eq!(
        (unit("cron").origin, unit("cron").wanted_by.as_slice()),
        (Origin::Sysv, &["rc2".to_owned()][..])
    );
    assert!(unit("cups.service").masked);
    let is_shadowed = |name: &str| seen.units.iter().all(|unit| unit.unit != name);
    assert!(
        is_shadowed("dbus"),
        "a unit of that name replaces the script"
    );
}

#[test]
fn a_masked_agent_is_not_enabled() {
    let tree = debian().link("/etc/systemd/system/qemu-guest-agent.service", "/dev/null");
    let agents = inspect_tree(&tree).guest_agents;
    assert!(
        agents
            .iter()
            .any(|agent| agent.name == "qemu-guest-agent" && !agent.enabled)
    );
}

#[test]
fn the_first_value_of_sshd_wins_and_match_is_left_out() {
    let sshd = inspect_tree(&debian()).sshd.expect("there is a server");
    assert_eq!(sshd["passwordauthentication"].value, "no");
    assert_eq!(
        sshd["passwordauthentication"].source.as_deref(),
        Some("/etc/ssh/sshd_config.d/50.conf")
    );
    assert_eq!(
        (
            sshd["permitrootlogin"].value.as_str(),
            &sshd["permitrootlogin"].source
        ),
        ("prohibit-password", &None)
    );
    assert!(inspect_tree(&TreeFixture::new()).sshd.is_none());
}

#[test]
fn sudo_leaves_out_names_with_a_dot() {
    let rules = inspect_tree(&debian()).sudo_without_password;
    assert_eq!(rules.len(), 1);
    assert_eq!(
        (rules[0].path.as_str(), rules[0].who.as_str()),
        ("/etc/sudoers.d/90-x", "anna")
    );
}

#[test]
fn sizes_and_rights_are_counted() {
    let contents = inspect_tree(&debian()).contents;
    assert_eq!(contents.setuid, ["/usr/bin/su"]);
    assert_eq!(contents.world_writable, ["/srv/open"]);
    let of = |path: &str| {
        contents
            .directory_sizes
            .iter()
            .find(|size| size.path == path)
            .map(|size| size.size_bytes)
    };
    assert_eq!(of("/srv"), Some(7));
    assert_eq!(of("/usr/bin"), Some(20 + 2 + 3));
    assert!(of("/usr") > of("/usr/bin"));
    let top: u64 = contents
        .directory_sizes
        .iter()
        .filter(|size| size.path.matches('/').count() == 1)
        .map(|size| size.size_bytes)
        .sum();
    assert_eq!(top, contents.size_bytes);
}

#[test]
fn alpine_and_rpm_systems_are_recognised() {
    let alpine = TreeFixture::new().file("/lib/apk/db/installed", "P:musl\nV:1\nA:x86_64\n");
    let packages = inspect_tree(&alpine).packages;
    assert_eq!(
        (packages.manager, packages.installed.len()),
        (Some(PackageManager::Apk), 1)
    );
    let fedora = TreeFixture::new().file("/usr/lib/sysimage/rpm/rpmdb.sqlite", "SQLite");
    let seen = inspect_tree(&fedora);
    assert_eq!(seen.packages.manager, Some(PackageManager::Rpm));
    assert!(
        seen.unknowns.iter().any(|text| text.contains("RPM")),
        "{:?}",
        seen.unknowns
    );
    for older in ["/var/lib/rpm/Packages", "/var/lib/rpm/Packages.db"] {
        let seen = inspect_tree(&TreeFixture::new().file(older, "bytes"));
        assert_eq!(seen.packages.manager, Some(PackageManager::Rpm));
        let says = |text: &String| text.contains("form of RPM database is not read");
        assert!(seen.unknowns.iter().any(says), "{:?}", seen.unknowns);
    }
}

#[test]
fn an_inspection_survives_being_stored() {
    let seen = inspect_tree(&debian());
    let stored = serde_json::to_string(&seen).expect("it can be written");
    let read: stampo_guest::inspect::Inspection =
        serde_json::from_str(&stored).expect("it can be read");
    assert_eq!(read, seen);
}
