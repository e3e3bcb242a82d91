//! Each field of a request, and each id, on a tree in memory: what is written, where, for whom.

use crate::personalise_support::*;
use stampo_core::personalisation::{File, Network};
use stampo_guest::fs::{FileKind, GuestRead, Owner};
use stampo_guest::personalise::{
    Elsewhere, FilesystemUuid, NetworkSystem, PROVENANCE_PATH, PersonaliseError, personalise,
};

fn static_network() -> Network {
    Network::Static {
        address: "192.0.2.10/24".parse().expect("valid"),
        gateway: Some("192.0.2.1".parse().expect("valid")),
        dns: vec!["192.0.2.53".parse().expect("valid")],
    }
}

#[test]
fn names_and_machine_id() {
    let mut tree = debian();
    let report = run(&mut tree, &request("app-1.example.org"));
    assert_eq!(text(&tree, "/etc/hostname"), "app-1\n");
    assert!(text(&tree, "/etc/hosts").contains("127.0.1.1\tapp-1.example.org app-1\n"));
    assert_eq!(text(&tree, "/etc/mailname"), "app-1.example.org\n");
    let postfix = text(&tree, "/etc/postfix/main.cf");
    assert_eq!(
        postfix,
        "myhostname = app-1.example.org\nmydestination = $myhostname, localhost\n"
    );
    let id = text(&tree, "/etc/machine-id");
    assert_eq!(id, format!("{}\n", report.machine_id.simple()));
    assert_eq!(id.len(), 33);
    assert_eq!(report.machine_id.get_version_num(), 4);
    assert_eq!(owner(&tree, "/etc/machine-id"), (0o444, 0, 0));
    assert_eq!(
        tree.read_link("/var/lib/dbus/machine-id").expect("a link"),
        b"/etc/machine-id"
    );
}

#[test]
fn ids_of_programs_are_written_only_where_the_program_is() {
    let mut tree = debian();
    run(&mut tree, &request("a"));
    assert_eq!(bytes(&tree, "/var/lib/systemd/random-seed").len(), 512);
    assert_eq!(owner(&tree, "/var/lib/systemd/random-seed"), (0o600, 0, 0));
    let iscsi = text(&tree, "/etc/iscsi/initiatorname.iscsi");
    assert!(
        iscsi.starts_with("InitiatorName=iqn.1993-08.org.debian:01:"),
        "{iscsi}"
    );
    let id = text(&tree, "/etc/nvme/hostid");
    assert_eq!(
        text(&tree, "/etc/nvme/hostnqn"),
        format!("nqn.2014-08.org.nvmexpress:uuid:{id}")
    );

    let mut bare = stampo_guest::fs::tree::TreeFixture::new().file("/etc/hostname", "x\n");
    let report = run(&mut bare, &request("a"));
    for path in [
        "/etc/iscsi",
        "/etc/nvme",
        "/etc/ssh",
        "/var/lib/systemd",
        "/var/lib/dbus",
    ] {
        assert!(!bare.exists(path).expect("readable"), "{path}");
    }
    assert!(report.host_keys.is_empty());
}

#[test]
fn host_keys_are_new_private_and_reported() {
    let mut tree = debian()
        .file("/etc/ssh/ssh_host_rsa_key", "shared by all clones")
        .file("/etc/ssh/ssh_host_rsa_key.pub", "shared");
    let report = run(&mut tree, &request("app-1"));
    assert!(!tree.exists("/etc/ssh/ssh_host_rsa_key").expect("readable"));
    let kinds: Vec<&str> = report
        .host_keys
        .iter()
        .map(|key| key.algorithm.as_str())
        .collect();
    assert_eq!(kinds, ["ssh-ed25519", "ecdsa-sha2-nistp256"]);
    for (kind, key) in ["ed25519", "ecdsa"].iter().zip(&report.host_keys) {
        let path = format!("/etc/ssh/ssh_host_{kind}_key");
        assert_eq!(owner(&tree, &path), (0o600, 0, 0));
        assert_eq!(owner(&tree, &format!("{path}.pub")), (0o644, 0, 0));
        assert_eq!(
            text(&tree, &format!("{path}.pub")),
            format!("{} root@app-1\n", key.public)
        );
        let private = ssh_key::PrivateKey::from_openssh(bytes(&tree, &path)).expect("a key");
        let public = ssh_key::PublicKey::from_openssh(&key.public).expect("a key");
        assert_eq!(
            private.public_key().key_data(),
            public.key_data(),
            "they belong together"
        );
        assert!(key.fingerprint.starts_with("SHA256:"));
    }
}

#[test]
fn a_host_key_that_sshd_names_and_we_do_not_write_is_told() {
    let mut tree = debian().file(
        "/etc/ssh/sshd_config.d/a.conf",
        "hostkey /etc/ssh/ssh_host_rsa_key\n",
    );
    let report = run(&mut tree, &request("a"));
    assert!(
        report
            .notes
            .iter()
            .any(|note| note.contains("ssh_host_rsa_key")),
        "{:?}",
        report.notes
    );
}

#[test]
fn ifupdown_finds_the_interface_by_its_mac() {
    let mut tree = debian();
    let request = stampo_core::personalisation::Personalisation {
        networks: vec![static_network()],
        ..request("a")
    };
    let report = run(&mut tree, &request);
    assert_eq!(report.network, Some(NetworkSystem::Ifupdown));
    let ours = text(&tree, "/etc/network/interfaces.d/stampo");
    assert!(ours.contains(
        "auto mac/52:53:00:00:00:01=stampo0\niface stampo0 inet static\n\taddress 192.0.2.10/24\n\tgateway 192.0.2.1\n"
    ), "{ours}");
    let main = text(&tree, "/etc/network/interfaces");
    assert!(
        !main.contains("ens3") && main.contains("iface lo"),
        "{main}"
    );
    assert_eq!(
        text(&tree, "/etc/resolv.conf"),
        "# Written by stampo.\nnameserver 192.0.2.53\n"
    );
}

#[test]
fn interfaces_beyond_the_list_use_dhcp() {
    let mut tree = debian();
    let mut two = context(1);
    two.nics
        .push(stampo_core::network::Mac::from_random([9, 9, 9, 9]));
    let request = stampo_core::personalisation::Personalisation {
        networks: vec![static_network()],
        ..request("a")
    };
    personalise(&mut tree, &request, &secrets(1), &two).expect("good");
    let ours = text(&tree, "/etc/network/interfaces.d/stampo");
    assert!(
        ours.contains("auto mac/52:53:09:09:09:09=stampo1\niface stampo1 inet dhcp\n"),
        "{ours}"
    );
}

#[test]
fn networkd_netplan_and_networkmanager() {
    let request = stampo_core::personalisation::Personalisation {
        networks: vec![static_network()],
        ..request("a")
    };
    let wants = "/etc/systemd/system/multi-user.target.wants";
    let mut networkd = debian()
        .link(&format!("{wants}/systemd-networkd.service"), "/usr/lib/x")
        .file("/etc/systemd/network/05-stampo-7.network", "stale");
    assert_eq!(
        run(&mut networkd, &request).network,
        Some(NetworkSystem::Networkd)
    );
    assert_eq!(
        text(&networkd, "/etc/systemd/network/05-stampo-0.network"),
        "# Written by stampo.\n[Match]\nMACAddress=52:53:00:00:00:01\n\n[Network]\nAddress=192.0.2.10/24\nGateway=192.0.2.1\nDNS=192.0.2.53\n"
    );
    assert!(
        !networkd
            .exists("/etc/systemd/network/05-stampo-7.network")
            .expect("readable")
    );

    let mut netplan = debian().file("/usr/sbin/netplan", "py").file(
        "/etc/netplan/50-cloud-init.yaml",
        "network: {ethernets: {}}",
    );
    assert_eq!(
        run(&mut netplan, &request).network,
        Some(NetworkSystem::Netplan)
    );
    let yaml = text(&netplan, "/etc/netplan/90-stampo.yaml");
    assert!(
        yaml.contains("        macaddress: \"52:53:00:00:00:01\"\n"),
        "{yaml}"
    );
    assert!(
        yaml.contains("      addresses: [\"192.0.2.10/24\"]\n"),
        "{yaml}"
    );
    assert_eq!(
        owner(&netplan, "/etc/netplan/90-stampo.yaml"),
        (0o600, 0, 0)
    );
    assert!(
        !netplan
            .exists("/etc/netplan/50-cloud-init.yaml")
            .expect("readable")
    );

    let mut manager = debian().link(&format!("{wants}/NetworkManager.service"), "/usr/lib/x");
    assert_eq!(
        run(&mut manager, &request).network,
        Some(NetworkSystem::NetworkManager)
    );
    let path = "/etc/NetworkManager/system-connections/stampo-0.nmconnection";
    let keyfile = text(&manager, path);
    assert!(
        keyfile.contains("[ethernet]\nmac-address=52:53:00:00:00:01\n"),
        "{keyfile}"
    );
    assert!(
        keyfile.contains(
            "[ipv4]\nmethod=manual\naddress1=192.0.2.10/24\ngateway=192.0.2.1\ndns=192.0.2.53;\n"
        ),
        "{keyfile}"
    );
    assert_eq!(owner(&manager, path), (0o600, 0, 0));
}

#[test]
fn the_time_zone_must_be_one_of_the_guest() {
    let with_zone = |zone: &str| stampo_core::personalisation::Personalisation {
        time_zone: Some(zone.into()),
        ..request("a")
    };
    let mut tree = debian();
    run(&mut tree, &with_zone("Europe/Rome"));
    assert_eq!(
        tree.read_link("/etc/localtime").expect("a link"),
        b"/usr/share/zoneinfo/Europe/Rome"
    );
    assert_eq!(text(&tree, "/etc/timezone"), "Europe/Rome\n");
    for unknown in ["Europe/Atlantis", "Europe", "tzdata.zi"] {
        let error = refusal(debian(), &with_zone(unknown));
        assert!(
            matches!(error, PersonaliseError::UnknownZone { .. }),
            "{unknown}: {error}"
        );
    }
}

#[test]
fn files_have_owners_by_name_and_the_user_has_the_last_word() {
    let file = |path: &str, owner: &str| File {
        path: path.into(),
        content: b"mine".to_vec(),
        mode: 0o640,
        owner: owner.into(),
        group: "shadow".into(),
    };
    let with_files = |files| stampo_core::personalisation::Personalisation {
        users: vec![user("app")],
        files,
        ..request("a")
    };
    let mut tree = debian();
    run(
        &mut tree,
        &with_files(vec![
            file("/srv/app/conf/x", "app"),
            file("/etc/hostname", "root"),
        ]),
    );
    assert_eq!(owner(&tree, "/srv/app/conf/x"), (0o640, 1001, 42));
    assert_eq!(owner(&tree, "/srv/app"), (0o755, 0, 0));
    assert_eq!(text(&tree, "/etc/hostname"), "mine");
    let error = refusal(debian(), &with_files(vec![file("/x", "ghost")]));
    assert!(
        matches!(error, PersonaliseError::UnknownOwner { kind: "user", .. }),
        "{error}"
    );
}

#[test]
fn the_first_boot_script_runs_once_after_the_network() {
    let mut tree = debian();
    let request = stampo_core::personalisation::Personalisation {
        first_boot_script: Some("echo hello".into()),
        ..request("a")
    };
    run(&mut tree, &request);
    assert_eq!(
        text(&tree, "/usr/lib/stampo/first-boot-user"),
        "#!/bin/sh\necho hello\n"
    );
    assert_eq!(
        owner(&tree, "/usr/lib/stampo/first-boot-user"),
        (0o700, 0, 0)
    );
    let unit = text(
        &tree,
        "/etc/systemd/system/multi-user.target.wants/stampo-user-script.service",
    );
    assert!(unit.contains("After=network-online.target"), "{unit}");
    assert!(
        unit.contains("ConditionPathExists=!/var/lib/stampo/first-boot-user.started"),
        "{unit}"
    );
    assert!(unit.contains("StandardOutput=journal+console"), "{unit}");
    let alpine = stampo_guest::fs::tree::TreeFixture::new()
        .file("/etc/passwd", "")
        .file("/etc/hostname", "")
        .file("/etc/machine-id", "");
    assert!(matches!(
        refusal(alpine, &request),
        PersonaliseError::NoSystemd { .. }
    ));
}

#[test]
fn the_root_filesystem_grows_at_the_first_boot() {
    let mut tree = debian();
    let mut larger = context(1);
    larger.grow_root = true;
    personalise(&mut tree, &request("a"), &secrets(1), &larger).expect("good");
    let unit = text(
        &tree,
        "/etc/systemd/system/local-fs.target.wants/stampo-growfs.service",
    );
    assert!(
        unit.contains("ExecStart=/usr/lib/systemd/systemd-growfs /\n"),
        "{unit}"
    );
    let bare = stampo_guest::fs::tree::TreeFixture::new();
    let result = stampo_guest::personalise::check(&bare, &request("a"), &larger);
    assert!(matches!(result, Err(PersonaliseError::NoSystemd { .. })));
}

#[test]
fn the_filesystem_uuid_changes_with_everything_that_names_it() {
    let old = "5eed0000-0000-4000-8000-000000000001";
    let mut tree = debian()
        .file(
            "/boot/grub/grub.cfg",
            format!("linux /vmlinuz root=UUID={old} ro\n"),
        )
        .file(
            "/boot/loader/entries/a.conf",
            format!("options root=UUID={}\n", old.to_uppercase()),
        );
    let report = run(&mut tree, &request("a"));
    let FilesystemUuid::Changed(new) = report.filesystem_uuid else {
        panic!("it was kept")
    };
    assert_eq!(tree.uuid().expect("a uuid"), new);
    assert_eq!(
        text(&tree, "/etc/fstab"),
        format!("UUID={new} / ext4 errors=remount-ro 0 1\n")
    );
    for path in ["/boot/grub/grub.cfg", "/boot/loader/entries/a.conf"] {
        assert!(
            text(&tree, path).contains(&format!("root=UUID={new}")),
            "{path}"
        );
    }
}

#[test]
fn the_filesystem_uuid_is_kept_where_something_unseen_may_name_it() {
    let old = "5eed0000-0000-4000-8000-000000000001";
    let with_esp = debian().file(
        "/etc/fstab",
        format!("UUID={old} / ext4 x 0 1\nUUID=AB-CD /boot/efi vfat x 0 1\n"),
    );
    let with_core = debian().file("/boot/grub/i386-pc/core.img", format!("\0\0{old}\0"));
    let with_grub = debian().dir("/boot/grub/x86_64-efi");
    for mut tree in [with_esp, with_core, with_grub] {
        let before = text(&tree, "/etc/fstab");
        let report = run(&mut tree, &request("a"));
        assert!(matches!(report.filesystem_uuid, FilesystemUuid::Kept(_)));
        assert_eq!(text(&tree, "/etc/fstab"), before);
        assert_eq!(tree.uuid().expect("a uuid").to_string(), old);
    }
    let mut tree = debian();
    let mut told = context(1);
    told.elsewhere = Elsewhere::Named("the kernel's command line has it".into());
    let report = personalise(&mut tree, &request("a"), &secrets(1), &told).expect("good");
    assert_eq!(
        report.filesystem_uuid,
        FilesystemUuid::Kept("the kernel's command line has it".into())
    );
}

#[test]
fn provenance_is_left_in_the_guest() {
    let mut tree = debian();
    run(&mut tree, &request("app-1"));
    let json: serde_json::Value =
        serde_json::from_slice(&bytes(&tree, PROVENANCE_PATH)).expect("json");
    assert_eq!(json["version"], "web@3");
    assert_eq!(json["guest"], context(1).guest.to_string());
}

#[test]
fn it_can_be_repeated_and_is_reproducible() {
    let request = stampo_core::personalisation::Personalisation {
        users: vec![stampo_core::personalisation::User {
            sudo: true,
            groups: vec!["sudo".into()],
            ..user("app")
        }],
        ssh_authorized_keys: vec![KEY.into()],
        networks: vec![static_network()],
        time_zone: Some("Europe/Rome".into()),
        first_boot_script: Some("true".into()),
        ..request("a")
    };
    let mut once = debian();
    let report = run(&mut once, &request);
    let mut twice = once.clone();
    run(&mut twice, &request);
    let mut other = debian();
    run(&mut other, &request);
    assert!(report.written.len() > 20);
    for path in &report.written {
        if once
            .metadata(path)
            .is_ok_and(|found| found.kind == FileKind::File)
        {
            assert_eq!(
                bytes(&once, path),
                bytes(&twice, path),
                "{path} differs when repeated"
            );
            assert_eq!(
                bytes(&once, path),
                bytes(&other, path),
                "{path} differs with equal randomness"
            );
            assert_eq!(owner(&once, path), owner(&twice, path), "{path}");
        }
    }
}

#[test]
fn selinux_guests_relabel() {
    let mut tree = debian().file("/etc/selinux/config", "# x\nSELINUX=enforcing\n");
    run(&mut tree, &request("a"));
    assert!(tree.exists("/.autorelabel").expect("readable"));
}

#[test]
fn wrong_networks_are_refused() {
    let with = |networks| stampo_core::personalisation::Personalisation {
        networks,
        ..request("a")
    };
    let error = refusal(debian(), &with(vec![Network::Dhcp, Network::Dhcp]));
    assert!(
        matches!(
            error,
            PersonaliseError::TooManyNetworks { wanted: 2, nics: 1 }
        ),
        "{error}"
    );
    let crossed = Network::Static {
        address: "192.0.2.10/24".parse().expect("valid"),
        gateway: Some("2001:db8::1".parse().expect("valid")),
        dns: vec![],
    };
    assert!(matches!(
        refusal(debian(), &with(vec![crossed])),
        PersonaliseError::GatewayFamily { .. }
    ));
    let mut bare = debian();
    stampo_guest::fs::GuestFs::remove_all(&mut bare, "/usr/lib/ifupdown").expect("there");
    assert!(matches!(
        refusal(bare, &with(vec![static_network()])),
        PersonaliseError::NoNetworkSystem
    ));
}

#[test]
fn kept_owner_of_a_replaced_file() {
    let mut tree = debian().file_as(
        "/etc/hosts",
        "127.0.0.1 localhost\n",
        Owner {
            uid: 0,
            gid: 5,
            mode: 0o664,
        },
    );
    run(&mut tree, &request("a"));
    assert_eq!(owner(&tree, "/etc/hosts"), (0o664, 0, 5));
    assert_eq!(owner(&tree, "/etc/shadow"), (0o640, 0, 42));
}
