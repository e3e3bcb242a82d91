//! Packages that bake an identity in: two clones share nothing of it, on Debian 12 and 13.

use stampo_testbed::Stampo;

/// What each package made at its installation, and how a running guest shows it.
const BAKED_IN: [&str; 7] = [
    "cat /etc/iscsi/initiatorname.iscsi | grep -v '^#'",
    "cat /etc/nvme/hostnqn",
    "cat /etc/nvme/hostid",
    "sha256sum < /etc/ssl/private/ssl-cert-snakeoil.key",
    "postconf -h myhostname",
    "cat /etc/machine-id",
    "cat /etc/ssh/ssh_host_*_key.pub | cut -d' ' -f2 | sort",
];

fn two_clones(recipe: &str) {
    let stampo = Stampo::new();
    stampo.publish("full", recipe);
    stampo.clones("full", "node-{n}", &["--count", "2"]);
    for guest in ["node-1", "node-2"] {
        // What is regenerated at the first boot may still be under way when ssh answers.
        stampo.agent(
            guest,
            "systemctl is-system-running --wait >/dev/null 2>&1; :",
        );
    }
    for item in BAKED_IN {
        let (one, two) = (stampo.agent("node-1", item), stampo.agent("node-2", item));
        assert!(
            !one.is_empty() && !two.is_empty(),
            "{item} is missing: {one:?} {two:?}"
        );
        assert_ne!(one, two, "{item}");
    }
    // The daemon makes it when it starts, which takes a while under emulation.
    let engine = "for n in $(seq 24); do cat /var/lib/docker/engine-id /etc/docker/key.json 2>/dev/null \
                  | grep . && break; sleep 5; done";
    assert_ne!(
        stampo.agent("node-1", engine),
        stampo.agent("node-2", engine),
        "docker's engine id"
    );
    let ran = stampo.run(&["passport", "--all", "-o", "json"]);
    assert_eq!(ran.code, 0, "nothing is duplicated:\n{}", ran.stdout);
    for guest in ["node-1", "node-2"] {
        let failed = stampo.agent(guest, "systemctl --failed --no-legend --plain");
        assert!(!failed.contains("stampo"), "{failed}");
        let cycles = stampo.agent(
            guest,
            "journalctl -b _PID=1 --no-pager | grep -i 'ordering cycle' || :",
        );
        assert_eq!(cycles, "", "our unit must fit between the guest's own");
    }
}

pub fn debian_12_shares_nothing() {
    two_clones("testbed/recipes/identity-12.toml");
}

pub fn debian_13_shares_nothing() {
    two_clones("testbed/recipes/identity-13.toml");
}
