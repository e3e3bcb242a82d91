//! Whole argument lists, shown as they are, and the refusals.

use super::*;
use stampo_core::hardware::{Hardware, NicModel};
use stampo_core::ids::GuestId;
use stampo_core::network::Mac;
use stampo_core::size::ByteSize;
use stampo_driver::{Disk, DiskFormat, NicDefinition};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use uuid::Uuid;

fn tcg() -> Acceleration {
    Acceleration::Tcg {
        reason: "a test".to_owned(),
    }
}

fn guest() -> GuestDefinition {
    let id = GuestId(Uuid::from_u128(0x42));
    let directory = Path::new("/g").join(id.to_string());
    GuestDefinition {
        id,
        name: "app-1".to_owned(),
        hardware: Hardware::default(),
        disks: vec![Disk {
            path: directory.join("disk.qcow2"),
            format: DiskFormat::Qcow2,
            backing: Some("/images/abc/disk.raw".into()),
            layers: Vec::new(),
            serial: "app-1-root".to_owned(),
        }],
        directory,
        seed: None,
        nics: vec![NicDefinition {
            mac: Mac::from_random([0, 0, 0, 1]),
            model: NicModel::Virtio,
            link: Link::User {
                ssh_port: Some(22001),
                guest_address: None,
            },
        }],
        generation_id: Uuid::from_u128(0x99),
        serial: "S-1".to_owned(),
        provenance: "stampo:template=web@3;image=abc,def".to_owned(),
        start: Start::Boot,
    }
}

/// The arguments with each option on a line of its own.
fn shown(guest: &GuestDefinition, acceleration: &Acceleration) -> String {
    let uefi = UefiFirmware {
        code: "/fw/CODE.fd".into(),
        vars_template: "/fw/VARS.fd".into(),
    };
    let host = HostFacts {
        acceleration,
        uefi: Some(&uefi),
        sandbox: true,
        machine: "pc-q35-10.0",
        reads_only: true,
        processor: None,
    };
    let args = build(guest, &Place::at(&guest.directory), &host).expect("a guest that can be had");
    args.iter()
        .map(|arg| {
            if arg.starts_with('-') {
                format!("\n{arg}")
            } else {
                format!(" {arg}")
            }
        })
        .collect()
}

fn refusal(guest: &GuestDefinition) -> String {
    let acceleration = tcg();
    let host = HostFacts {
        acceleration: &acceleration,
        uefi: None,
        sandbox: true,
        machine: "pc-q35-10.0",
        reads_only: true,
        processor: None,
    };
    build(guest, &Place::at(&guest.directory), &host)
        .expect_err("it can't be had")
        .to_string()
}

#[test]
fn a_plain_linked_clone() {
    insta::assert_snapshot!(shown(&guest(), &tcg()));
}

#[test]
fn a_guest_that_is_frozen_and_one_that_goes_on() {
    let mut guest = guest();
    let image = PathBuf::from("/images/abc/memory-1");
    guest.start = Start::BootToFreeze {
        image: image.clone(),
    };
    guest.disks[0].layers = vec!["/l,1.qcow2".into(), "/l2.qcow2".into()];
    let frozen = shown(&guest, &tcg());
    guest.start = Start::Resume { image };
    let resumed = shown(&guest, &tcg());
    guest.start = Start::BootResumed;
    let booted = shown(&guest, &tcg());
    insta::assert_snapshot!(frozen);
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let (frozen, resumed, booted) = (lines(&frozen), lines(&resumed), lines(&booted));
    let only = |these: &[String], others: &[String]| {
        let new = these.iter().filter(|line| !others.contains(line));
        new.cloned().collect::<Vec<_>>()
    };
    assert_eq!(
        only(&resumed, &frozen),
        [
            "-accel tcg,thread=multi,tb-size=20",
            r#"-object {"id":"ram0","mem-path":"/images/abc/memory-1/memory","qom-type":"memory-backend-file","readonly":true,"rom":"off","share":false,"size":536870912}"#,
            "-incoming defer",
            "-S",
            "-netdev user,id=net0,hostfwd=tcp:127.0.0.1:22001-:22",
        ]
    );
    assert_eq!(
        only(&booted, &frozen),
        [
            "-machine pc-q35-10.0,graphics=off,vmport=off",
            "-netdev user,id=net0,hostfwd=tcp:127.0.0.1:22001-:22",
        ]
    );
}

#[test]
fn a_uefi_guest_with_everything() {
    let mut guest = guest();
    guest.hardware.firmware = Firmware::Uefi;
    guest.hardware.cpus = 4;
    guest.hardware.memory = ByteSize::mib(2048);
    guest.hardware.tpm = true;
    guest.hardware.disk_bus = DiskBus::Scsi;
    guest.seed = Some(guest.directory.join("seed.iso"));
    let data = Disk {
        path: "/data/a,b.raw".into(),
        format: DiskFormat::Raw,
        backing: None,
        layers: Vec::new(),
        serial: "d".to_owned(),
    };
    guest.disks.push(data);
    guest.nics.push(NicDefinition {
        mac: Mac::from_random([0, 0, 0, 2]),
        model: NicModel::E1000e,
        link: Link::Bridge {
            bridge: "br0".to_owned(),
        },
    });
    insta::assert_snapshot!(shown(&guest, &Acceleration::Kvm));
}

#[test]
fn sata_and_nvme_disks_with_a_seed() {
    let mut guest = guest();
    guest.seed = Some("/g/seed.iso".into());
    let only_disks = |text: String| {
        let disk = |line: &&str| {
            line.starts_with("-device") && (line.contains("drive") && line.contains("\"drive\""))
        };
        text.lines()
            .filter(disk)
            .map(|line| format!("{line}\n"))
            .collect::<String>()
    };
    let mut text = String::new();
    for bus in [DiskBus::Virtio, DiskBus::Sata, DiskBus::Nvme] {
        guest.hardware.disk_bus = bus;
        text.push_str(&only_disks(shown(&guest, &tcg())));
    }
    insta::assert_snapshot!(text);
}

#[test]
fn a_static_address_moves_the_user_network() {
    let net = |address: [u8; 4], prefix| {
        let mut guest = guest();
        let guest_address = Some((Ipv4Addr::from(address), prefix));
        guest.nics[0].link = Link::User {
            ssh_port: Some(22001),
            guest_address,
        };
        let text = shown(&guest, &tcg());
        text.lines()
            .find(|line| line.starts_with("-netdev"))
            .expect("a network")
            .to_owned()
    };
    assert_eq!(
        net([192, 0, 2, 77], 24),
        "-netdev user,id=net0,net=192.0.2.0/24,host=192.0.2.1,dns=192.0.2.3,dhcpstart=192.0.2.77,hostfwd=tcp:127.0.0.1:22001-192.0.2.77:22"
    );
    assert_eq!(
        net([192, 0, 2, 9], 29),
        "-netdev user,id=net0,net=192.0.2.8/29,host=192.0.2.10,dns=192.0.2.11,dhcpstart=192.0.2.9,hostfwd=tcp:127.0.0.1:22001-192.0.2.9:22"
    );
}

#[test]
fn commas_in_values_do_not_become_options() {
    let mut guest = guest();
    guest.provenance = "a,type=0,vendor=evil".to_owned();
    guest.serial = "x,uuid=y".to_owned();
    let text = shown(&guest, &tcg());
    assert!(
        text.contains("type=11,value=a,,type=0,,vendor=evil\n"),
        "{text}"
    );
    assert!(text.contains("serial=x,,uuid=y,uuid=0000"), "{text}");
}

#[test]
fn what_can_not_be_had_is_refused_with_a_reason() {
    let mut uefi = guest();
    uefi.hardware.firmware = Firmware::Uefi;
    assert!(refusal(&uefi).contains("apt install ovmf"));

    let mut long_serial = guest();
    long_serial.disks[0].serial = "x".repeat(21);
    assert!(refusal(&long_serial).contains("at most 20 bytes"));

    let mut raw_overlay = guest();
    raw_overlay.disks[0].format = DiskFormat::Raw;
    assert!(refusal(&raw_overlay).contains("only a qcow2 overlay"));

    let mut many = guest();
    many.hardware.disk_bus = DiskBus::Sata;
    many.disks = vec![many.disks[0].clone(); 7];
    assert!(refusal(&many).contains("six ports"));

    let mut tiny = guest();
    tiny.nics[0].link = Link::User {
        ssh_port: None,
        guest_address: Some((Ipv4Addr::new(192, 0, 2, 1), 30)),
    };
    assert!(refusal(&tiny).contains("at most 29"));
}

#[test]
fn a_deep_home_shortens_the_sockets_and_nothing_else() {
    let mut guest = guest();
    guest.directory = Path::new("/")
        .join("d".repeat(120))
        .join(guest.id.to_string());
    let text = shown(&guest, &tcg());
    assert!(text.contains("id=qmp,path=qmp.sock,server=on"), "{text}");
    assert!(
        text.contains(&format!(
            "logfile={}",
            guest.directory.join("console.log").display()
        )),
        "{text}"
    );
}
