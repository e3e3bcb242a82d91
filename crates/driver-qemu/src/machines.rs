//! The machine types that a QEMU has, from its own list.
//!
//! The plain name `q35` means another machine with each version of QEMU. A guest is started with
//! the full name, so that its arguments say which it is: a memory image fits one only.

/// What `-machine help` lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Machines {
    /// The full name of `q35`; `q35` itself where the list does not tell.
    pub q35: String,
    /// Every name.
    names: Vec<String>,
}

impl Machines {
    /// From lines such as `q35  Standard PC (Q35 + ICH9, 2009) (alias of pc-q35-10.0)`.
    pub fn parse(help: &str) -> Self {
        let names: Vec<String> = help
            .lines()
            .filter_map(|line| line.split_once(' '))
            .map(|(name, _)| name.to_owned())
            .collect();
        let alias = help
            .lines()
            .find(|line| line.starts_with("q35 "))
            .and_then(|line| line.split_once("(alias of "))
            .and_then(|(_, rest)| rest.split(')').next());
        let full = alias.filter(|full| names.iter().any(|name| name == full));
        Machines {
            q35: full.unwrap_or("q35").to_owned(),
            names,
        }
    }

    /// Whether there is a machine type of this name.
    pub fn has(&self, name: &str) -> bool {
        self.names.iter().any(|known| known == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_full_name_is_read_from_the_list() {
        let help = "Supported machines are:\n\
            none                 empty machine\n\
            pc-q35-7.2           Standard PC (Q35 + ICH9, 2009) (deprecated)\n\
            q35                  Standard PC (Q35 + ICH9, 2009) (alias of pc-q35-10.0)\n\
            pc-q35-10.0          Standard PC (Q35 + ICH9, 2009)\n";
        let machines = Machines::parse(help);
        assert_eq!(machines.q35, "pc-q35-10.0");
        assert!(machines.has("pc-q35-7.2") && !machines.has("pc-q35-11.0"));
        assert_eq!(Machines::parse("q35  x (alias of other)\n").q35, "q35");
        assert_eq!(Machines::parse("").q35, "q35");
    }
}
