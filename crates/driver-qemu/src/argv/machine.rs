//! What a QEMU's arguments say about its machine: read back, from a plan or from a process.
//!
//! A memory image fits one machine only, and QEMU does not notice every difference: it resumes a
//! guest on another processor model or with a device too many, and the guest then fails later.
//! So the machine is compared here, line by line, before a process is started. Whatever is not
//! known to be a guest's own (its name, its files, its addresses) belongs to the machine.

use serde_json::Value;
use stampo_core::network::Mac;
use std::path::PathBuf;
use uuid::Uuid;

/// Options that say nothing about the machine, or only what each guest has of its own. Networks are
/// among them as nothing of them is saved with the guest, see `network.rs`.
const NOT_THE_MACHINE: [&str; 13] = [
    "-name",
    "-uuid",
    "-smbios",
    "-object",
    "-chardev",
    "-mon",
    "-display",
    "-boot",
    "-blockdev",
    "-sandbox",
    "-pidfile",
    "-incoming",
    "-netdev",
];

/// The option that [`super::build`] ends with.
const LAST_OPTION: &str = "-pidfile";

/// Properties of devices that each guest has of its own.
const NOT_THE_DEVICE: [&str; 3] = ["mac", "serial", "guid"];

/// A machine as its QEMU's arguments tell it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Machine {
    /// What the guest relies on, one thing a line, in the order of the arguments.
    pub lines: Vec<String>,
    /// The machine type.
    pub kind: String,
    /// The addresses of its interfaces.
    pub macs: Vec<Mac>,
    /// The names of what its interfaces are connected to.
    pub netdevs: Vec<String>,
    /// The names of what is behind that, the outermost first: only where a hub is between.
    pub beyond: Vec<String>,
    /// The VM generation id.
    pub generation_id: Uuid,
    /// The file that is its memory and is shared with whoever opens it.
    pub memory_file: Option<PathBuf>,
}

impl Machine {
    /// Reads arguments that [`super::build`] made. What is before the first option and behind the
    /// last is not ours: the program, and what a wrapper around it added.
    pub fn read(args: &[String]) -> Self {
        let mut machine = Machine::default();
        let mut rest = args.iter().peekable();
        while let Some(option) = rest.next() {
            if !option.starts_with('-') {
                continue;
            }
            let value = rest.next_if(|next| !next.starts_with('-'));
            machine.add(option, value.map_or("", String::as_str));
            if option == LAST_OPTION {
                break;
            }
        }
        let peers = &machine.netdevs;
        machine.beyond.retain(|id| !peers.contains(id));
        machine
    }

    fn add(&mut self, option: &str, value: &str) {
        match option {
            "-device" => return self.add_device(value),
            "-netdev" => {
                let id = value.split(',').find_map(|part| part.strip_prefix("id="));
                self.beyond.extend(id.map(str::to_owned));
            }
            "-object" => self.add_object(value),
            "-machine" => self.kind = value.split(',').next().unwrap_or_default().to_owned(),
            _ => {}
        }
        if !NOT_THE_MACHINE.contains(&option) && option != "-S" {
            let value = of_the_machine(value);
            self.lines
                .push(format!("{option} {value}").trim_end().to_owned());
        }
    }

    fn add_object(&mut self, value: &str) {
        let Ok(object) = serde_json::from_str::<Value>(value) else {
            return;
        };
        if object["share"] == Value::Bool(true) {
            self.memory_file = object["mem-path"].as_str().map(PathBuf::from);
        }
    }

    fn add_device(&mut self, value: &str) {
        let Ok(Value::Object(mut device)) = serde_json::from_str(value) else {
            return self.lines.push(format!("-device {value}"));
        };
        let mut own = NOT_THE_DEVICE.map(|key| device.remove(key));
        let [mac, _, guid] = own.each_mut().map(|own| own.take());
        let text = |value: &Option<Value>| value.as_ref()?.as_str().map(str::to_owned);
        self.netdevs.extend(
            device
                .get("netdev")
                .and_then(Value::as_str)
                .map(str::to_owned),
        );
        self.macs
            .extend(text(&mac).and_then(|mac| mac.parse::<Mac>().ok()));
        if let Some(guid) = text(&guid).and_then(|guid| guid.parse().ok()) {
            self.generation_id = guid;
        }
        self.lines
            .push(format!("-device {}", Value::Object(device)));
    }
}

/// A value without what the guest can't notice: how much of its translated code QEMU keeps.
fn of_the_machine(value: &str) -> String {
    let parts = value
        .split(',')
        .filter(|part| !part.starts_with("tb-size="));
    parts.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[&str]) -> Machine {
        Machine::read(&text.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn a_guests_own_values_are_not_the_machine_and_all_else_is() {
        let guest = |mac: &str, name: &str, accel: &str| {
            let nic = format!(r#"{{"driver":"virtio-net-pci","mac":"{mac}","netdev":"net0"}}"#);
            read(&[
                "/usr/bin/qemu",
                "-nodefaults",
                "-name",
                name,
                "-machine",
                "pc-q35-7.2,vmport=off",
                "-accel",
                accel,
                "-netdev",
                "user,id=net0,hostfwd=tcp::22-:22",
                "-device",
                &nic,
                "-S",
            ])
        };
        let one = guest("52:53:00:00:00:01", "a", "tcg,thread=multi");
        let other = guest("52:53:00:00:00:02", "b", "tcg,tb-size=32,thread=multi");
        assert_eq!(one.lines, other.lines);
        assert_eq!(
            one.lines,
            [
                "-nodefaults",
                "-machine pc-q35-7.2,vmport=off",
                "-accel tcg,thread=multi",
                r#"-device {"driver":"virtio-net-pci","netdev":"net0"}"#,
            ]
        );
        assert_eq!(one.kind, "pc-q35-7.2");
        assert_eq!(one.netdevs, ["net0"]);
        assert!(one.beyond.is_empty());
        assert_eq!(one.macs, [Mac::from_random([0, 0, 0, 1])]);
        assert_eq!(one.memory_file, None);
        let wrapped = ["-new-option", "x", "-pidfile", "p", "-kernel", "k"];
        assert_eq!(read(&wrapped).lines, ["-new-option x"]);
    }
}
