//! Ids of storage initiators, arrays, pools and volumes. Sources: iscsi-iname(8), nvme-gen-hostnqn(1),
//! lvmdevices(8), mdadm.conf(5), zgenhostid(8).

use super::Action::{Keep, Notice, Regenerate, Remove, Rewrite};
use super::{SealItem, row};
use crate::seal::firstboot::UNIT;
use crate::seal::rewrite::{lines, names};

pub(super) const ITEMS: &[SealItem] = &[
    row(
        "iscsi-initiator",
        "the iSCSI initiator's name",
        &["/etc/iscsi/initiatorname.iscsi"],
        Regenerate(UNIT),
        "made when the package is installed: two initiators with one name corrupt a shared LUN",
    )
    .secret(),
    row(
        "iscsi-nodes",
        "iSCSI targets that the template found, with their passwords",
        &[
            "/etc/iscsi/nodes/*",
            "/etc/iscsi/send_targets/*",
            "/etc/iscsi/static/*",
            "/var/lib/iscsi/nodes/*",
            "/var/lib/iscsi/send_targets/*",
        ],
        Remove,
        "each clone would log in to the template's disks",
    ),
    row(
        "nvme-host",
        "the NVMe host's name and id",
        &["/etc/nvme/hostnqn", "/etc/nvme/hostid"],
        Regenerate(UNIT),
        "made when the package is installed: NVMe targets take clones for one host",
    )
    .secret(),
    row(
        "hostid",
        "the 32-bit host id",
        &["/etc/hostid"],
        Regenerate(UNIT),
        "ZFS takes a pool of another clone for its own",
    ),
    row(
        "zpool-cache",
        "ZFS pools that the template had",
        &["/etc/zfs/zpool.cache"],
        Remove,
        "a clone finds its own pools by scanning",
    ),
    row(
        "lvm-devices",
        "disks that LVM may use, by serial number",
        &[
            "/etc/lvm/devices/system.devices",
            "/etc/lvm/devices/backup/*",
        ],
        Remove,
        "a clone's disks have other serials and would be left out; without the file LVM sees all",
    ),
    row(
        "lvm-backups",
        "copies of LVM metadata with the ids of the template's volumes",
        &[
            "/etc/lvm/backup/*",
            "/etc/lvm/archive/*",
            "/etc/lvm/cache/.cache",
        ],
        Remove,
        "made again at the next change",
    ),
    row(
        "mdadm-homehost",
        "the template's name in the RAID configuration",
        &["/etc/mdadm/mdadm.conf", "/etc/mdadm.conf"],
        Rewrite(names::mdadm),
        "arrays of a clone would count as foreign; `<system>` takes the clone's own name",
    ),
    row(
        "multipath",
        "disks that multipath has seen",
        &["/etc/multipath/wwids", "/etc/multipath/bindings"],
        Remove,
        "they name the template's disks; made again",
    ),
    row(
        "nfs-state",
        "NFS client and server recovery state",
        &[
            "/var/lib/nfs/nfsdcltrack/*",
            "/var/lib/nfs/nfsdcld/*",
            "/var/lib/nfs/sm/*",
            "/var/lib/nfs/sm.bak/*",
            "/var/lib/nfs/state",
        ],
        Remove,
        "servers would release the locks of another clone",
    ),
    row(
        "nfs4-client-id",
        "a fixed NFSv4 client id",
        &["/etc/modprobe.d/*.conf"],
        Rewrite(|content, _| lines::drop_lines_with(content, "nfs4_unique_id=")),
        "servers take clones for one client and drop each other's locks",
    ),
    row(
        "gluster-id",
        "the GlusterFS peer id",
        &["/var/lib/glusterd/glusterd.info"],
        Remove,
        "a cluster takes clones for one peer; glusterd makes a new one",
    )
    .secret(),
    row(
        "ceph",
        "a Ceph daemon's data",
        &[
            "/var/lib/ceph/osd/*",
            "/var/lib/ceph/mon/*",
            "/etc/ceph/ceph.client.*.keyring",
        ],
        Notice(
            None,
            "take the Ceph daemons and keyrings out of the template",
        ),
        "a daemon's id is part of its data and of the cluster",
    ),
    row(
        "crypttab",
        "encrypted volumes",
        &["/etc/crypttab"],
        Notice(
            Some(names::active_lines),
            "re-encrypt the volumes of each clone: all clones share the master key",
        ),
        "a volume's master key can be changed only with its passphrase",
    ),
    row(
        "fstab",
        "which filesystems are mounted",
        &["/etc/fstab"],
        Keep,
        "a setting; personalisation changes it together with the filesystem's UUID",
    ),
];
