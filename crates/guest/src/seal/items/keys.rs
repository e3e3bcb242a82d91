//! Keys that belong to the machine itself. Sources: sshd(8) FILES, make-ssl-cert(8), krb5.keytab.

use super::Action::{Notice, Regenerate, Remove, RemoveLinkTo};
use super::{SealItem, row};
use crate::seal::firstboot::UNIT;

pub(super) const ITEMS: &[SealItem] = &[
    row(
        "ssh-host-keys",
        "the SSH server's private keys",
        &["/etc/ssh/ssh_host_*_key", "/etc/ssh/ssh_host_key"],
        Regenerate(UNIT),
        "whoever has one clone could pose as any other",
    )
    .secret(),
    row(
        "ssh-host-public-keys",
        "the SSH server's public keys and certificates",
        &[
            "/etc/ssh/ssh_host_*_key.pub",
            "/etc/ssh/ssh_host_*_key-cert.pub",
            "/etc/ssh/ssh_host_key.pub",
        ],
        Regenerate(UNIT),
        "they belong to the private keys",
    ),
    row(
        "dropbear-host-keys",
        "the small SSH server's keys",
        &["/etc/dropbear/dropbear_*_host_key"],
        Regenerate(UNIT),
        "as for the SSH server",
    )
    .secret(),
    row(
        "dropbear-initramfs-keys",
        "SSH keys inside the initramfs",
        &[
            "/etc/dropbear/initramfs/dropbear_*_host_key",
            "/etc/dropbear-initramfs/dropbear_*_host_key",
        ],
        Notice(
            None,
            "make them in each clone and run update-initramfs there",
        ),
        "copies of them are inside the initramfs, which only the guest can make again",
    ),
    row(
        "snakeoil-link",
        "the hash link of the self-signed certificate",
        &["/etc/ssl/certs/*.[0-9]"],
        RemoveLinkTo("ssl-cert-snakeoil.pem"),
        "its name is a hash of the template's host name",
    )
    .needs(&[
        "/usr/sbin/make-ssl-cert",
        "/etc/ssl/certs/ssl-cert-snakeoil.pem",
    ]),
    row(
        "snakeoil-key",
        "the private key of Debian's self-signed certificate",
        &["/etc/ssl/private/ssl-cert-snakeoil.key"],
        Regenerate(UNIT),
        "made when the package is installed: every clone could decrypt and pose as every other",
    )
    .secret(),
    row(
        "snakeoil-certificate",
        "Debian's self-signed certificate",
        &["/etc/ssl/certs/ssl-cert-snakeoil.pem"],
        Regenerate(UNIT),
        "it belongs to the private key and carries the template's name",
    ),
    row(
        "localhost-certificate",
        "the self-signed certificate of Red Hat's web server",
        &[
            "/etc/pki/tls/private/localhost.key",
            "/etc/pki/tls/certs/localhost.crt",
        ],
        Regenerate("httpd-init.service"),
        "as for Debian's",
    )
    .secret(),
    row(
        "cockpit-certificate",
        "cockpit's self-signed certificate",
        &["/etc/cockpit/ws-certs.d/0-self-signed*"],
        Regenerate("cockpit.service"),
        "as for Debian's",
    )
    .secret(),
    row(
        "webmin-certificate",
        "webmin's self-signed certificate",
        &["/etc/webmin/miniserv.pem"],
        Notice(
            None,
            "make a new one in webmin's SSL settings of each clone",
        ),
        "webmin does not start without it",
    ),
    row(
        "acme-accounts",
        "accounts at certificate authorities",
        &[
            "/etc/letsencrypt/accounts/*",
            "/var/lib/acme/.lego/*",
            "/root/.acme.sh/ca/*",
        ],
        Remove,
        "a clone could revoke the certificates of all",
    )
    .secret(),
    row(
        "kerberos-keytab",
        "the machine's Kerberos keys",
        &["/etc/krb5.keytab", "/var/lib/sss/keytabs/*"],
        Remove,
        "a domain trusts whoever has it as this machine; join each clone",
    )
    .secret(),
    row(
        "sssd",
        "what SSSD knows of the domain: cached users, secrets",
        &[
            "/var/lib/sss/db/*",
            "/var/lib/sss/mc/*",
            "/var/lib/sss/secrets/*",
            "/var/lib/sss/deskprofile/*",
        ],
        Remove,
        "cached passwords of the template's users; fetched again",
    ),
    row(
        "samba-secrets",
        "the machine's password in its domain, and its SID",
        &[
            "/var/lib/samba/private/secrets.tdb",
            "/var/lib/samba/private/schannel_store.tdb",
            "/var/lib/samba/private/passdb.tdb",
            "/var/lib/samba/private/*.ldb",
        ],
        Remove,
        "clones with one account lock each other out; join each clone",
    )
    .secret(),
    row(
        "ipa-client",
        "the enrolment in an IPA domain",
        &["/etc/ipa/default.conf", "/var/lib/ipa-client/sysrestore/*"],
        Notice(
            None,
            "enrol each clone with ipa-client-install, not the template",
        ),
        "an enrolment spans many files; ipa-client-install --uninstall takes it back",
    ),
    row(
        "mok",
        "the key that signs kernel modules for Secure Boot",
        &[
            "/var/lib/shim-signed/mok/MOK.priv",
            "/var/lib/dkms/mok.key",
            "/var/lib/dkms/mok.priv",
        ],
        Notice(
            None,
            "sign modules outside the guest, or enrol a key for each clone",
        ),
        "modules that the firmware trusts are signed with it",
    ),
    row(
        "fingerprints",
        "enrolled fingerprints",
        &["/var/lib/fprint/*"],
        Remove,
        "they belong to a person",
    ),
];
