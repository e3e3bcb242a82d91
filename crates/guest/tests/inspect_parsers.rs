//! Each parser of an inspection against text as real systems have it.

use stampo_guest::inspect::network::{Addressing, Interface, ifupdown, keyfile, mac_in, netplan};
use stampo_guest::inspect::users::{
    Password, hash_algorithm, parse_passwd, parse_shadow, password,
};
use stampo_guest::inspect::yaml::Yaml;
use stampo_guest::inspect::{apk, boot, cloud_init, dpkg, fstab, os, sshd, sudoers};

#[test]
fn os_release_is_read_like_a_shell_would() {
    let os = os::parse(
        "# comment\nID=debian\nVERSION_ID=\"12\"\nPRETTY_NAME='Debian GNU/Linux 12 (bookworm)'\n\
         VERSION_CODENAME=bookworm # no\nID_LIKE=a\\ b\nHOME_URL=\n",
    );
    assert_eq!(
        (os.id.as_str(), os.version_id.as_deref()),
        ("debian", Some("12"))
    );
    assert_eq!(
        os.pretty_name.as_deref(),
        Some("Debian GNU/Linux 12 (bookworm)")
    );
    assert_eq!(os.codename.as_deref(), Some("bookworm"));
    assert_eq!(os::parse("").id, "linux");
}

#[test]
fn the_machine_type_of_a_program_is_known() {
    let header = |class: u8, order: u8, machine: [u8; 2]| {
        let mut bytes = vec![0x7f, b'E', b'L', b'F', class, order];
        bytes.resize(18, 0);
        bytes.extend(machine);
        bytes
    };
    assert_eq!(os::machine(&header(2, 1, [62, 0])), Some("x86_64"));
    assert_eq!(os::machine(&header(2, 1, [183, 0])), Some("aarch64"));
    assert_eq!(os::machine(&header(2, 2, [0, 22])), Some("s390x"));
    assert_eq!(os::machine(b"#!/bin/sh\n..................."), None);
}

#[test]
fn dpkg_paragraphs_become_packages() {
    let packages = dpkg::parse(
        "Package: bash\nStatus: install ok installed\nVersion: 5.2.15-2+b7\nArchitecture: amd64\n\
         Description: shell\n Package: not-a-package\n\nPackage: gone\nStatus: deinstall ok config-files\n\
         Version: 1\n\nPackage: half\nStatus: install ok half-configured\nVersion: 2\n\
         Source: whole (2.1)\n\nVersion: 3\n",
    );
    let names: Vec<&str> = packages
        .iter()
        .map(|package| package.name.as_str())
        .collect();
    assert_eq!(names, ["bash", "half"]);
    assert_eq!(
        (packages[0].version.as_str(), &packages[0].problem),
        ("5.2.15-2+b7", &None)
    );
    assert_eq!(packages[1].problem.as_deref(), Some("half-configured"));
    assert_eq!(packages[1].source.as_deref(), Some("whole"));
}

#[test]
fn apk_paragraphs_become_packages() {
    let packages = apk::parse("P:musl\nV:1.2.5-r0\nA:x86_64\no:musl\n\nP:zlib\nV:1.3\nA:x86_64");
    assert_eq!(packages.len(), 2);
    assert_eq!(
        (packages[0].name.as_str(), packages[0].source.as_deref()),
        ("musl", None)
    );
    assert_eq!(packages[1].version, "1.3");
}

#[test]
fn passwords_are_told_apart_and_never_kept() {
    let hash = |algorithm: &str| Password::Hash(algorithm.into());
    for (field, expected) in [
        ("", Password::Empty),
        ("*", Password::Locked),
        ("!", Password::Locked),
        ("!!", Password::Locked),
        ("!*", Password::Locked),
        ("$y$j9T$salt$hash", hash("yescrypt")),
        ("$6$salt$hash", hash("sha512crypt")),
        ("$1$salt$hash", hash("md5crypt")),
        ("abJnggxhB/yWI", hash("descrypt")),
        ("$new$thing", hash("unknown")),
        ("!$6$salt$hash", Password::LockedHash("sha512crypt".into())),
        ("NP", Password::Locked),
    ] {
        assert_eq!(password(field), expected, "{field}");
    }
    assert_eq!(hash_algorithm("$2b$05$x"), Some("bcrypt"));
    let shadow = parse_shadow("root:*:1::::::\nanna:$6$s$secret:1::::::\n");
    let users = parse_passwd(
        "root:x:0:0:root:/root:/bin/bash\nanna:x:1000:1000:,,,:/home/anna:/bin/zsh\n\
         daemon:x:1:1::/:/usr/sbin/nologin\nold::2:2::/:/bin/sh\nbroken\nbad:x:nan:1::/:/bin/sh\n",
        Some(&shadow),
    );
    let seen: Vec<_> = users
        .iter()
        .map(|user| (user.name.as_str(), user.can_login))
        .collect();
    assert_eq!(
        seen,
        [
            ("root", true),
            ("anna", true),
            ("daemon", false),
            ("old", true)
        ]
    );
    assert_eq!(users[1].password, hash("sha512crypt"));
    assert_eq!(users[2].password, Password::Locked);
    assert_eq!(users[3].password, Password::Empty);
    assert!(
        !serde_json::to_string(&users)
            .expect("it can be written")
            .contains("secret")
    );
    assert_eq!(
        parse_passwd("a:x:1:1::/:/bin/sh\n", None)[0].password,
        Password::Unknown
    );
}

fn only(interfaces: Vec<Interface>, name: &str) -> Interface {
    let mut named = interfaces
        .into_iter()
        .filter(|interface| interface.name == name);
    named
        .next()
        .unwrap_or_else(|| panic!("no interface {name}"))
}

#[test]
fn ifupdown_stanzas_are_joined() {
    let text = "auto lo eth0\niface lo inet loopback\nallow-hotplug eth0\niface eth0 inet static\n\
                \taddress 192.0.2.7/24\n\tgateway 192.0.2.1\niface eth0 inet6 auto\n\
                \thwaddress ether 52:54:00:AA:bb:01\nsource /etc/network/interfaces.d/*\n\
                address 198.51.100.1\n";
    let eth0 = only(ifupdown::parse(text), "eth0");
    assert_eq!(eth0.addressing, [Addressing::Static, Addressing::Auto]);
    assert_eq!(
        (eth0.addresses, eth0.macs),
        (
            vec!["192.0.2.7/24".into()],
            vec!["52:54:00:aa:bb:01".into()]
        )
    );
}

#[test]
fn netplan_is_read_without_merging() {
    let text = "network:\n  version: 2\n  ethernets:\n    lan:\n      match:\n        macaddress: \"52-54-00-aa-bb-02\"\n      \
                set-name: lan\n      dhcp4: true\n    dmz:\n      addresses:\n        - 192.0.2.8/24\n        \
                - 2001:db8::8/64:\n            lifetime: 0\n  wifis: *nothing\n";
    // An alias of nothing is an error of the file.
    assert!(netplan::parse(text).is_err());
    let interfaces = netplan::parse(&text.replace("  wifis: *nothing\n", "")).expect("it is YAML");
    let lan = only(interfaces.clone(), "lan");
    assert_eq!(
        (lan.addressing, lan.macs),
        (vec![Addressing::Dhcp], vec!["52:54:00:aa:bb:02".into()])
    );
    assert_eq!(
        only(interfaces, "dmz").addresses,
        ["192.0.2.8/24", "2001:db8::8/64"]
    );
    assert!(netplan::parse("a: [").is_err());
}

#[test]
fn keyfiles_of_three_kinds_are_read() {
    let network = &keyfile::networkd(
        "[Match]\nName=en*\n# DHCP=no\n[Network]\nDHCP=ipv4\nAddress=192.0.2.9/24\n",
    )[0];
    assert_eq!(network.addressing, [Addressing::Dhcp, Addressing::Static]);
    let connection = &keyfile::network_manager(
        "[connection]\nid=home\n[wifi]\nmac-address=52:54:00:AA:BB:03\n[ipv4]\naddress1=192.0.2.9/24,192.0.2.1\n\
         address-data=x\nmethod=manual\n[wifi-security]\npsk=topsecret\n",
    )[0];
    assert_eq!(
        (connection.name.as_str(), &connection.addresses),
        ("home", &vec!["192.0.2.9/24".to_owned()])
    );
    assert_eq!(connection.macs, ["52:54:00:aa:bb:03"]);
    let ifcfg = &keyfile::ifcfg(
        "DEVICE=eth0\nBOOTPROTO=none\nIPADDR=\"192.0.2.9\"\nHWADDR=52:54:00:AA:BB:04\n",
    )[0];
    assert_eq!(
        (ifcfg.name.as_str(), ifcfg.macs[0].as_str()),
        ("eth0", "52:54:00:aa:bb:04")
    );
}

#[test]
fn hardware_addresses_are_found_in_text() {
    assert_eq!(
        mac_in("ether 52:54:00:AA:BB:CC;").as_deref(),
        Some("52:54:00:aa:bb:cc")
    );
    assert_eq!(
        mac_in("52-54-00-aa-bb-cc").as_deref(),
        Some("52:54:00:aa:bb:cc")
    );
    for none in [
        "",
        "random",
        "52:54:00:aa:bb",
        "52:54:00:aa:bb:cc:dd",
        "2001:db8::1",
        "5254.00aa.bbcc",
    ] {
        assert_eq!(mac_in(none), None, "{none}");
    }
}

#[test]
fn yaml_aliases_are_not_expanded() {
    let bomb = "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n";
    let parsed = Yaml::parse(bomb).expect("it is YAML");
    let c = parsed.get("c").map(Yaml::items).unwrap_or_default();
    assert_eq!(
        c,
        [Yaml::Scalar(String::new()), Yaml::Scalar(String::new())]
    );
    assert!(Yaml::parse(&"[".repeat(10_000)).is_err());
    assert!(Yaml::parse(&"- x\n".repeat(60_000)).is_err());
    assert!(Yaml::parse("").expect("nothing is YAML").pairs().is_empty());
}

#[test]
fn cloud_init_datasources_are_read() {
    let list =
        cloud_init::datasource_list("datasource_list: [ NoCloud, None ]\nusers: [default]\n");
    assert_eq!(list, Ok(Some(vec!["NoCloud".into(), "None".into()])));
    assert_eq!(cloud_init::datasource_list("users: []\n"), Ok(None));
}

#[test]
fn kernel_command_lines_are_found_for_each_loader() {
    let grub = boot::parse_grub(
        "menuentry 'x' {\n\tlinux\t/boot/vmlinuz-6.1.0 root=UUID=1 ro  quiet\n\tinitrd /boot/i\n}\nlinuxefi /v a\n",
    );
    assert_eq!(
        grub[0],
        ("/boot/vmlinuz-6.1.0".into(), "root=UUID=1 ro  quiet".into())
    );
    assert_eq!(grub.len(), 2);
    let entry = boot::parse_entry("title x\nlinux /vmlinuz\noptions root=a\noptions quiet\n");
    assert_eq!(entry, [("/vmlinuz".to_owned(), "root=a quiet".to_owned())]);
    let extlinux = boot::parse_extlinux("LABEL l\n  KERNEL /vmlinuz\n  APPEND root=a\n");
    assert_eq!(extlinux, [("/vmlinuz".to_owned(), "root=a".to_owned())]);
}

#[test]
fn fstab_lines_are_read_and_passwords_left_out() {
    let mounts =
        fstab::parse("UUID=1 / ext4 rw 0 1\n//s/x /mnt/a\\040b cifs user=u,password=p\nshort\n");
    assert_eq!(mounts.len(), 2);
    assert_eq!(
        (mounts[1].at.as_str(), mounts[1].options.as_str()),
        ("/mnt/a b", "user=u,password=***")
    );
}

#[test]
fn sudo_rules_without_password_are_found() {
    let rules = sudoers::parse(
        "# anna ALL=(ALL) NOPASSWD: ALL\nDefaults env_reset\nDefaults:otto !authenticate\n\
         %sudo ALL=(ALL:ALL) ALL\nanna ALL=(ALL) \\\n NOPASSWD: /bin/ls\n",
    );
    let who: Vec<&str> = rules.iter().map(|(who, _)| who.as_str()).collect();
    assert_eq!(who, ["Defaults:otto", "anna"]);
}

#[test]
fn sshd_lines_are_split_as_sshd_does() {
    assert_eq!(
        sshd::keyword_and_value("PermitRootLogin yes"),
        ("permitrootlogin".into(), "yes")
    );
    assert_eq!(sshd::keyword_and_value("Port=22"), ("port".into(), "22"));
    assert_eq!(
        sshd::keyword_and_value("Include \"/a/b c\""),
        ("include".into(), "/a/b c")
    );
    assert_eq!(sshd::keyword_and_value("Lonely"), ("lonely".into(), ""));
}
