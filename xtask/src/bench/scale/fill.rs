//! A large catalog, made through the store's own code, with the directories that belong to it.
//!
//! Guests are stopped and on a bridge: there are only 8,000 ports to forward, and a host with so
//! many guests has a network of its own. What is *not* made is the guests' disks.

use anyhow::{Context, Result};
use stampo_core::goal::CloneKind;
use stampo_core::guest::GuestState;
use stampo_core::hardware::{Hardware, NicLink, NicModel};
use stampo_core::identity::{FactValue, IdentityFact};
use stampo_core::ids::{GuestId, ImageId, VersionId};
use stampo_core::lifecycle::{Governance, State};
use stampo_core::network::Mac;
use stampo_core::personalisation::Network;
use stampo_core::plan::{GuestPlan, NicPlan};
use stampo_core::size::ByteSize;
use stampo_driver::{Disk, DiskFormat, GuestDefinition, Link, NicDefinition, Start};
use stampo_store::{GuestRow, Store, StoreError, VersionRow};
use std::fs;
use std::path::Path;
use uuid::Uuid;

/// Rows in one transaction.
const BATCH: u32 = 2000;
/// Versions of each template.
const OF_TEMPLATE: u32 = 10;
/// Identity items of each guest: about as many as a Debian guest has.
const ITEMS: [&str; 14] = [
    "hostname",
    "machine-id",
    "ssh.host_key.ed25519",
    "ssh.host_key.rsa",
    "ssh.host_key.ecdsa",
    "smbios.uuid",
    "smbios.serial",
    "nic.1.mac",
    "generation-id",
    "disk.guid",
    "filesystem.uuid",
    "partition.1.guid",
    "partition.2.guid",
    "random-seed",
];

/// Brings the catalog of `home` from so many versions and guests to so many.
pub fn fill(home: &Path, from: (u32, u32), to: (u32, u32)) -> Result<()> {
    let store = Store::open(&home.join("catalog.db"))?;
    let mut number = from.0;
    while number < to.0 {
        let end = to.0.min(number + BATCH);
        store.write(|tx| {
            for number in number..end {
                let name = format!("fill-{}", number / OF_TEMPLATE);
                let name = name.parse().expect("a template's name");
                let template = tx.ensure_template(&name, 1)?;
                let row = version(number, template.id, template.name);
                make_image(home, &row).expect("the disk has room for an empty image");
                tx.insert_version(&row)?;
            }
            Ok::<_, StoreError>(())
        })?;
        number = end;
    }
    let versions = store.read(|tx| tx.versions())?;
    let versions: Vec<_> = versions.into_iter().filter(is_ours).collect();
    let mut number = from.1;
    while number < to.1 {
        let end = to.1.min(number + BATCH);
        let rows: Vec<GuestRow> = (number..end)
            .map(|number| guest(number, &versions[number as usize % versions.len()]))
            .collect();
        store.write(|tx| {
            for row in &rows {
                tx.insert_guest(row)?;
                tx.put_facts(row.id, &facts(row))?;
            }
            Ok::<_, StoreError>(())
        })?;
        for row in &rows {
            make_guest(home, row)?;
        }
        number = end;
    }
    store.checkpoint()?;
    Ok(())
}

fn is_ours(row: &VersionRow) -> bool {
    row.template.as_str().starts_with("fill-")
}

fn version(
    number: u32,
    template_id: stampo_core::ids::TemplateId,
    template: stampo_core::names::TemplateName,
) -> VersionRow {
    let mut image = [0; 32];
    image[..4].copy_from_slice(&number.to_be_bytes());
    VersionRow {
        id: VersionId(Uuid::now_v7()),
        template_id,
        template,
        number: number % OF_TEMPLATE + 1,
        state: State::Published,
        image: Some(ImageId::from_bytes(image)),
        virtual_size: ByteSize::gib(2),
        data: ByteSize::mib(500),
        hardware: Hardware::default(),
        origin: serde_json::json!({"kind": "import", "source": "/srv/images/debian-12.qcow2"}),
        proof: None,
        governance: Governance::default(),
        operation: None,
        created_ms: i64::from(number),
        changed_ms: i64::from(number),
        verified_ms: None,
    }
}

/// An image's directory as the pool makes it, without data.
fn make_image(home: &Path, row: &VersionRow) -> Result<()> {
    let image = row.image.as_ref().context("set above")?;
    let dir = home.join("images").join(image.as_str());
    fs::create_dir_all(&dir)?;
    let disk = fs::File::create(dir.join("disk.raw"))?;
    disk.set_len(row.virtual_size.bytes())?;
    fs::write(dir.join("leaves.bin"), b"")?;
    Ok(())
}

fn guest(number: u32, version: &VersionRow) -> GuestRow {
    let id = GuestId(Uuid::new_v4());
    let name: stampo_core::names::GuestName =
        format!("fill-{number}").parse().expect("a guest's name");
    GuestRow {
        id,
        name: name.clone(),
        version: version.id,
        image: version.image.clone().expect("set above"),
        kind: CloneKind::Linked,
        state: GuestState::Ready,
        operation: None,
        plan: GuestPlan {
            id,
            name,
            kind: CloneKind::Linked,
            disk_size: version.virtual_size,
            grow: false,
            extra_disks: Vec::new(),
            hardware: Hardware::default(),
            nics: vec![NicPlan {
                mac: Mac::from_random(number.to_be_bytes()),
                link: NicLink::Bridge("br0".to_owned()),
                ssh_port: None,
                network: Network::Dhcp,
            }],
            generation_id: Uuid::new_v4(),
            disk_guid: Uuid::new_v4(),
            filesystem_uuid: Uuid::new_v4(),
            serial: format!("stampo-{number}"),
            personalisation: None,
            start: false,
            fork: None,
            fallback: None,
            member: None,
        },
        host_keys: vec![format!("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA{number:044}")],
        error: None,
        created_ms: i64::from(number),
        changed_ms: i64::from(number),
        keep_until_ms: None,
    }
}

fn facts(row: &GuestRow) -> Vec<IdentityFact> {
    let fact = |item: &&str| IdentityFact {
        item: (*item).to_owned(),
        location: format!("/place/of/{item}"),
        // As long as a keyed hash is in hex.
        value: FactValue::Present(format!("{}{}", Uuid::new_v4().simple(), row.id.0.simple())),
    };
    ITEMS.iter().map(fact).collect()
}

/// A guest's directory, as far as listing it goes. Its definition is a real one: a guest that has
/// lost it is looked at again and again.
fn make_guest(home: &Path, row: &GuestRow) -> Result<()> {
    let dir = home.join("guests").join(row.id.to_string());
    fs::create_dir_all(&dir)?;
    let definition = serde_json::to_vec_pretty(&definition(row, &dir))?;
    fs::write(dir.join("definition.json"), definition)?;
    Ok(())
}

fn definition(row: &GuestRow, dir: &Path) -> GuestDefinition {
    let nics = row.plan.nics.iter().map(|nic| NicDefinition {
        mac: nic.mac,
        model: NicModel::default(),
        link: Link::Bridge {
            bridge: "br0".to_owned(),
        },
    });
    GuestDefinition {
        id: row.id,
        name: row.name.to_string(),
        directory: dir.to_owned(),
        hardware: row.plan.hardware.clone(),
        disks: vec![Disk {
            path: dir.join("disk.qcow2"),
            format: DiskFormat::Qcow2,
            backing: None,
            layers: Vec::new(),
            serial: row.plan.serial.clone(),
        }],
        seed: None,
        nics: nics.collect(),
        generation_id: row.plan.generation_id,
        serial: row.plan.serial.clone(),
        provenance: format!("stampo:template=fill;image={}", row.image),
        start: Start::Boot,
    }
}
