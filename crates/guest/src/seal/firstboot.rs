//! The unit and the script that make in each clone what was sealed away, for guests that do not
//! do it by themselves.
//!
//! Debian without cloud-init, for example, makes ssh host keys, the iSCSI and NVMe names and the
//! snakeoil certificate only when the packages are installed. The script has one step for each of
//! those that the guest's programs can make; it keeps whatever exists, so that a clone that got
//! its keys offline keeps those. It runs before the services that need them and not again.
//!
//! Only systemd guests get it. On others the items are removed all the same, the plan tells so,
//! and personalisation has to write them.

use super::guest::{Guest, READ_LIMIT_BYTES, exists_any};
use crate::fs::{FsError, GuestRead};

/// The unit's name, as the table's rows use it.
pub const UNIT: &str = "stampo-firstboot.service";
/// The id under which a plan lists the unit and the script; may be used in selections.
pub const ITEM: &str = "first-boot-unit";
/// Where the script is.
pub const SCRIPT_PATH: &str = "/usr/lib/stampo/firstboot";
/// Where the unit is.
pub const UNIT_PATH: &str = "/etc/systemd/system/stampo-firstboot.service";
/// The link that enables the unit.
pub const WANTS_PATH: &str = "/etc/systemd/system/multi-user.target.wants/stampo-firstboot.service";
/// The unit's content.
pub const UNIT_CONTENT: &str = include_str!("firstboot/unit.service");

const HEAD: &str = include_str!("firstboot/head.sh");
const TAIL: &str = include_str!("firstboot/tail.sh");

/// How one thing is made again.
struct Step {
    /// The shell function's name.
    name: &'static str,
    /// The rows whose removal it makes good: left out when all of them are left out.
    items: &'static [&'static str],
    /// The guest must have one of these programs.
    programs: &'static [&'static str],
    /// Made also where the template had none, because a service does not start without it.
    /// Otherwise one of the paths must exist when the template is sealed.
    when_had: Option<&'static [&'static str]>,
    /// The function's body.
    body: &'static str,
}

const STEPS: &[Step] = &[
    Step {
        name: "ssh_host_keys",
        items: &["ssh-host-keys"],
        programs: &["/usr/sbin/sshd"],
        when_had: None,
        body: r#"
    # One key is enough: whoever wrote it chose which kinds this machine has.
    found=1
    for key in /etc/ssh/ssh_host_*_key; do
        [ -e "$key" ] && present "$key" && found=0
    done
    [ "$found" -eq 0 ] || ssh-keygen -q -A
"#,
    },
    Step {
        name: "dropbear_host_keys",
        items: &["dropbear-host-keys"],
        programs: &["/usr/bin/dropbearkey"],
        when_had: Some(&["/etc/dropbear/dropbear_ed25519_host_key"]),
        body: r#"
    present /etc/dropbear/dropbear_ed25519_host_key ||
        dropbearkey -t ed25519 -f /etc/dropbear/dropbear_ed25519_host_key
"#,
    },
    Step {
        name: "iscsi_initiator",
        items: &["iscsi-initiator"],
        programs: &["/usr/sbin/iscsi-iname", "/sbin/iscsi-iname"],
        when_had: None,
        body: r#"
    present /etc/iscsi/initiatorname.iscsi && return 0
    if [ -e /etc/debian_version ]; then
        name=$(iscsi-iname -p iqn.1993-08.org.debian:01)
    else
        name=$(iscsi-iname)
    fi
    [ -n "$name" ] && printf 'InitiatorName=%s\n' "$name" > /etc/iscsi/initiatorname.iscsi
"#,
    },
    Step {
        name: "nvme_host",
        items: &["nvme-host"],
        programs: &["/usr/sbin/nvme"],
        when_had: None,
        body: r#"
    # Not `nvme gen-hostnqn`: it takes the firmware's UUID, which is all zeros on many machines.
    if ! present /etc/nvme/hostnqn; then
        read -r uuid < /proc/sys/kernel/random/uuid || return 1
        printf 'nqn.2014-08.org.nvmexpress:uuid:%s\n' "$uuid" > /etc/nvme/hostnqn
    fi
    # The id is the UUID of the name: targets refuse a pair that does not match.
    if ! present /etc/nvme/hostid; then
        sed -n 's/.*uuid://p' /etc/nvme/hostnqn > /etc/nvme/hostid
    fi
    chmod 644 /etc/nvme/hostnqn /etc/nvme/hostid
    [ -s /etc/nvme/hostnqn ] && [ -s /etc/nvme/hostid ]
"#,
    },
    Step {
        name: "hostid",
        items: &["hostid"],
        programs: &["/usr/sbin/zgenhostid", "/sbin/zgenhostid"],
        when_had: Some(&["/etc/hostid"]),
        body: r#"
    present /etc/hostid || zgenhostid
"#,
    },
    Step {
        name: "snakeoil",
        items: &["snakeoil-key", "snakeoil-certificate"],
        programs: &["/usr/sbin/make-ssl-cert"],
        when_had: None,
        body: r#"
    present /etc/ssl/private/ssl-cert-snakeoil.key &&
        present /etc/ssl/certs/ssl-cert-snakeoil.pem && return 0
    make-ssl-cert generate-default-snakeoil --force-overwrite
"#,
    },
    Step {
        name: "mailname",
        items: &["mailname"],
        programs: &["/bin/hostname", "/usr/bin/hostname"],
        when_had: Some(&["/etc/mailname"]),
        body: r#"
    present /etc/mailname && return 0
    name=$(hostname -f 2> /dev/null) || name=$(hostname)
    printf '%s\n' "$name" > /etc/mailname
    chmod 644 /etc/mailname
"#,
    },
    Step {
        name: "popularity_contest",
        items: &["popularity-contest"],
        programs: &["/usr/sbin/popularity-contest"],
        when_had: Some(&["/etc/popularity-contest.conf"]),
        body: r#"
    grep -q '^MY_HOSTID=' /etc/popularity-contest.conf && return 0
    id=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
    printf 'MY_HOSTID="%s"\n' "$id" >> /etc/popularity-contest.conf
"#,
    },
];

/// The script for this guest, or `None` when its programs can make nothing of what the selected
/// items take away. Sealing twice gives the same script: a step of an earlier one stays.
pub(super) fn script(
    reader: &dyn GuestRead,
    selected: &dyn Fn(&str) -> bool,
) -> Result<Option<String>, FsError> {
    let earlier = earlier(reader)?;
    let mut script = HEAD.to_owned();
    let mut steps = 0;
    for step in STEPS {
        let opening = format!("\n{}() {{", step.name);
        let had = match step.when_had {
            None => true,
            Some(paths) => earlier.contains(&opening) || exists_any(reader, paths)?,
        };
        if had && step.items.iter().any(|id| selected(id)) && exists_any(reader, step.programs)? {
            script.push_str(&format!("{opening}{}}}\nrun {}\n", step.body, step.name));
            steps += 1;
        }
    }
    script.push_str(TAIL);
    Ok((steps > 0).then_some(script))
}

/// The script of an earlier sealing; empty when there is none.
fn earlier(reader: &dyn GuestRead) -> Result<String, FsError> {
    match reader.read(SCRIPT_PATH, READ_LIMIT_BYTES) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(FsError::NotFound { .. } | FsError::Unsuitable { .. }) => Ok(String::new()),
        Err(error) => Err(error),
    }
}

/// Whether the guest's init can run the unit.
pub(super) fn can_run(guest: &Guest) -> bool {
    guest.systemd
}

/// What a user reads where the unit cannot run.
pub(super) const WITHOUT_SYSTEMD: &str =
    "nothing makes keys and ids at first boot without systemd: personalise each clone offline";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::tree::TreeFixture;
    use crate::seal::items::items;

    #[test]
    fn steps_name_rows_that_say_so_and_the_other_way_round() {
        let rows: Vec<&str> = items().map(|(_, row)| row.id).collect();
        for step in STEPS {
            assert!(
                step.items.iter().all(|id| rows.contains(id)),
                "{}",
                step.name
            );
        }
        for (_, row) in items() {
            if matches!(row.action, crate::seal::Action::Regenerate(UNIT)) {
                let root = row.id.replace("public-", "");
                assert!(
                    STEPS.iter().any(|s| s.items.contains(&root.as_str())),
                    "no step makes {}",
                    row.id
                );
            }
        }
    }

    #[test]
    fn a_guest_gets_the_steps_that_its_programs_can_do() {
        let tree = TreeFixture::new()
            .file("/usr/sbin/sshd", "")
            .file("/usr/sbin/nvme", "");
        let script = script(&tree, &|_| true)
            .expect("readable")
            .expect("two steps");
        assert_eq!(script.matches("\nrun ").count(), 2, "{script}");
        assert!(
            super::script(&TreeFixture::new(), &|_| true)
                .expect("readable")
                .is_none()
        );
    }

    #[test]
    fn an_item_that_was_left_out_has_no_step() {
        let tree = TreeFixture::new().file("/usr/sbin/sshd", "");
        assert!(
            script(&tree, &|id| id != "ssh-host-keys")
                .expect("readable")
                .is_none()
        );
    }

    #[test]
    fn a_step_of_an_earlier_sealing_stays() {
        let tree = TreeFixture::new()
            .file("/usr/bin/hostname", "")
            .file("/etc/mailname", "web\n");
        let first = script(&tree, &|_| true)
            .expect("readable")
            .expect("one step");
        let sealed = TreeFixture::new()
            .file("/usr/bin/hostname", "")
            .file(SCRIPT_PATH, &first);
        assert_eq!(script(&sealed, &|_| true).expect("readable"), Some(first));
    }
}
