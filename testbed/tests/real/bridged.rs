//! Instant clones on a bridge, in a network of this test's own, where every frame is written down: with
//! addresses of their own, and with those that a DHCP server lends. No frame is from the frozen
//! machine's MAC and none speaks of the address that it had; the clones' own are there, or it would
//! prove nothing.
//!
//! Called by `frozen.rs`. `STAMPO_LONG=1` asks the server in five rounds, and makes clones where none is.

use super::instant::{all_differ, as_it_was_planned, identify, name};
use serde_json::Value;
use stampo_agent_protocol::Evidence;
use stampo_testbed::{Ran, Stampo};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// 192.0.2.10 and on, as they stand in a frame.
const ADDRESSES: &str = "c00002";
const FIRST_ADDRESS: usize = 10;
/// 10.0.2.15, which QEMU's network had lent the frozen machine.
const LENT: &str = "0a00020f";
/// The ports of DHCP's servers and clients, as they stand in a frame.
const DHCP_PORTS: [&str; 2] = ["00440043", "00430044"];

/// Everything; the version is called `web`, and `frozen_mac` is what its frozen guest has.
pub(crate) fn nothing_of_the_frozen_one_on_the_wire(stampo: &Stampo, frozen_mac: &str) {
    let long = std::env::var_os("STAMPO_LONG").is_some_and(|value| value == "1");
    with_their_own_addresses(stampo, frozen_mac);
    for round in 0..if long { 5 } else { 1 } {
        with_lent_addresses(stampo, frozen_mac, round);
    }
    if long {
        where_nobody_lends_any(stampo, frozen_mac);
    }
}

/// Asked for by `--address`; nobody waits for them.
fn with_their_own_addresses(stampo: &Stampo, frozen_mac: &str) {
    let dir = stampo.path("bridge");
    let words = "br-{n} --count 3 --no-wait --address 192.0.2.10-192.0.2.19/24";
    let made = guests(&on_a_bridge(stampo, &dir, "no-dhcp", words), 3);
    let frames = frames(&dir.join("frames"));
    for (number, guest) in made.iter().enumerate() {
        let last = FIRST_ADDRESS + number;
        speaks_for_itself(&frames, guest, &format!("{ADDRESSES}{last:02x}"));
        stampo.ok(&["rm", "--force", name(guest)]);
    }
    assert!(!has_dhcp(&frames), "nobody is asked for an address");
    nothing_of_the_frozen_one(&frames, frozen_mac);
}

/// Each clone has a lease of its own, under its own MAC and name, and goes by what it was lent.
fn with_lent_addresses(stampo: &Stampo, frozen_mac: &str, round: usize) {
    let dir = stampo.path(&format!("lent-{round}"));
    let words = "dh-{n} --count 2";
    let made = guests(&on_a_bridge(stampo, &dir, "dhcp", words), 2);
    let frames = frames(&dir.join("frames"));
    let leases = leases(&dir.join("leases"));
    eprintln!("leases: {leases:?}");
    assert_eq!(leases.len(), made.len(), "{leases:?}");
    let told: Vec<Evidence> = made.iter().map(|guest| identify(stampo, guest)).collect();
    all_differ(&told);
    let mut lent = BTreeSet::new();
    for (guest, told) in made.iter().zip(&told) {
        as_it_was_planned(guest, told);
        let lease = leases.iter().find(|lease| lease.mac == guest["macs"][0]);
        let lease = lease.unwrap_or_else(|| panic!("{}: {leases:?}", name(guest)));
        assert_eq!(lease.hostname, name(guest));
        assert!(lent.insert(lease.address.clone()), "twice: {leases:?}");
        let address = format!("{}/24", lease.address);
        let held = told.interfaces[0].addresses.iter();
        let held: Vec<String> = held.map(ToString::to_string).collect();
        assert_eq!(held, [address], "{}", name(guest));
        speaks_for_itself(&frames, guest, &hex_of_address(&lease.address));
        stampo.ok(&["rm", "--force", name(guest)]);
    }
    assert!(has_dhcp(&frames), "somebody asks for an address");
    nothing_of_the_frozen_one(&frames, frozen_mac);
}

/// A clone that nobody lends an address asks for one as itself, and is not handed out.
fn where_nobody_lends_any(stampo: &Stampo, frozen_mac: &str) {
    let dir = stampo.path("not-lent");
    let ran = on_a_bridge(stampo, &dir, "no-dhcp", "alone");
    assert_ne!(ran.code, 0, "{ran:?}");
    assert!(ran.stderr.contains("is there a DHCP server?"), "{ran:?}");
    assert!(!stampo.guests().contains(&"alone".to_owned()), "it is gone");
    let frames = frames(&dir.join("frames"));
    assert!(has_dhcp(&frames), "it asks for an address");
    nothing_of_the_frozen_one(&frames, frozen_mac);
}

/// A frame is from its MAC, and one of those has this address in it.
fn speaks_for_itself(frames: &[String], guest: &Value, address: &str) {
    let mac = hex_of(guest["macs"][0].as_str().expect("a MAC"));
    let own = frames.iter().filter(|frame| frame[12..24] == mac);
    let speaks = own.clone().filter(|frame| frame.contains(address));
    let (own, speaks) = (own.count(), speaks.count());
    assert!(own > 0, "no frame is from {}", name(guest));
    assert!(speaks > 0, "{} does not speak of {address}", name(guest));
}

fn nothing_of_the_frozen_one(frames: &[String], frozen_mac: &str) {
    eprintln!("{} frames on the bridge", frames.len());
    let mac = hex_of(frozen_mac);
    for frame in frames {
        assert!(!frame.contains(&mac), "the frozen MAC: {frame}");
        assert!(!frame.contains(LENT), "the frozen address: {frame}");
    }
}

/// Whether a frame is of DHCP (RFC 2131), over IPv4 without options (RFC 791): the ports are behind 14 bytes
/// of Ethernet and 20 of IP.
fn has_dhcp(frames: &[String]) -> bool {
    let ports = |frame: &String| {
        let is_ipv4 = frame[24..28] == *"0800";
        is_ipv4
            && frame
                .get(68..76)
                .is_some_and(|ports| DHCP_PORTS.contains(&ports))
    };
    frames.iter().any(ports)
}

/// Clones of `web` on a bridge, made with these further words.
fn on_a_bridge(stampo: &Stampo, dir: &Path, dhcp: &str, words: &str) -> Ran {
    let script = stampo_testbed::project().join("testbed/tests/real/bridged/on_a_bridge.sh");
    let words = format!("clone --instant=only web --bridge br0 -q -o json {words}");
    let clone = stampo.command(&words.split_whitespace().collect::<Vec<_>>());
    let environment = clone
        .get_envs()
        .filter_map(|(key, value)| Some((key, value?)));
    let ran = Command::new("unshare")
        .args("--user --map-user=1000 --map-group=1000 --keep-caps --net --mount sh".split(' '))
        .args([&script, dir, &PathBuf::from(dhcp)])
        .arg(clone.get_program())
        .args(clone.get_args())
        .envs(environment)
        .output()
        .expect("unshare can't be started: apt install util-linux");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ran {
        code: ran.status.code().unwrap_or(256),
        stdout: text(ran.stdout),
        stderr: text(ran.stderr),
    }
}

/// The clones of a command that has made so many.
fn guests(ran: &Ran, count: usize) -> Vec<Value> {
    assert_eq!(ran.code, 0, "{ran:?}");
    let made: Value = serde_json::from_str(&ran.stdout).expect("guests");
    let made = made.as_array().expect("a list").clone();
    assert_eq!(made.len(), count);
    assert!(
        made.iter().all(|guest| guest["kind"] == "instant"),
        "{made:?}"
    );
    made
}

/// What a server has lent to whom.
#[derive(Debug)]
struct Lease {
    mac: String,
    address: String,
    hostname: String,
}

/// The leases as busybox shows its own file: a heading, and then MAC, address, name and time.
fn leases(path: &Path) -> Vec<Lease> {
    let shown = Command::new("busybox")
        .args(["dumpleases", "-f"])
        .arg(path)
        .output()
        .expect("busybox can't be started: apt install busybox-static");
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    let lease = |line: &str| {
        let mut words = line.split_whitespace().map(str::to_owned);
        Some(Lease {
            mac: words.next()?,
            address: words.next()?,
            hostname: words.next()?,
        })
    };
    shown.lines().skip(1).filter_map(lease).collect()
}

/// The frames that tcpdump has printed, in hex: a line that tells what it takes it for, and then
/// lines with an offset, a colon and 16 bytes each.
fn frames(path: &Path) -> Vec<String> {
    let mut frames: Vec<String> = Vec::new();
    for line in std::fs::read_to_string(path).expect("frames").lines() {
        let bytes = line.strip_prefix("\t0x").and_then(|l| l.split_once(": "));
        match (bytes, frames.last_mut()) {
            (Some((_, bytes)), Some(frame)) => {
                frame.extend(bytes.chars().filter(char::is_ascii_hexdigit));
            }
            (Some(_), None) => panic!("bytes of no frame: {line}"),
            (None, _) => frames.push(String::new()),
        }
    }
    // Cut off when the capture ended, it is no frame.
    frames.retain(|frame| frame.len() >= 28);
    frames
}

fn hex_of(mac: &str) -> String {
    mac.replace(':', "")
}

fn hex_of_address(address: &str) -> String {
    let bytes = address.split('.').map(|byte| byte.parse::<u8>());
    bytes
        .map(|byte| format!("{:02x}", byte.expect("an address")))
        .collect()
}
