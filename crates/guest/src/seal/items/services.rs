//! Ids and names of services that the guest offers. Where an id is part of stored data (a
//! database, a cluster member) it is not touched: the row says what a person should do.

use super::Action::{Notice, Regenerate, Remove, Rewrite};
use super::{SealItem, row};
use crate::seal::firstboot::UNIT;
use crate::seal::rewrite::{lines, names};

const MEMBER: &str = "its id is part of the data of a cluster or a database";
const FRESH: &str = "put the service into the template without its data directory";

pub(super) const ITEMS: &[SealItem] = &[
    row(
        "docker-engine-id",
        "the Docker engine's id and key",
        &["/etc/docker/key.json", "/var/lib/docker/engine-id"],
        Regenerate("docker.service"),
        "clones look like one engine to managers and registries; docker makes a new one",
    )
    .secret(),
    row(
        "docker-swarm",
        "membership in a swarm",
        &["/var/lib/docker/swarm/docker-state.json"],
        Notice(None, "leave the swarm before sealing"),
        MEMBER,
    ),
    row(
        "cni",
        "addresses that containers had",
        &[
            "/var/lib/cni/networks/*",
            "/var/lib/cni/results/*",
            "/var/lib/cni/cache/*",
        ],
        Remove,
        "leases of containers that a clone does not run",
    ),
    row(
        "kubelet",
        "membership in a Kubernetes cluster",
        &[
            "/var/lib/kubelet/pki/*",
            "/etc/kubernetes/*.conf",
            "/etc/kubernetes/pki/*",
        ],
        Notice(
            None,
            "run `kubeadm reset` before sealing and join each clone",
        ),
        MEMBER,
    ),
    row(
        "k3s",
        "membership in a k3s cluster",
        &[
            "/etc/rancher/node/password",
            "/var/lib/rancher/k3s/server/tls",
            "/var/lib/rancher/k3s/agent/client-ca.crt",
        ],
        Notice(None, "install k3s without starting it, and join each clone"),
        MEMBER,
    ),
    row(
        "etcd",
        "an etcd member's data",
        &["/var/lib/etcd/member", "/var/lib/etcd/default.etcd"],
        Notice(None, FRESH),
        MEMBER,
    ),
    row(
        "consul",
        "the Consul agent's node id",
        &[
            "/opt/consul/node-id",
            "/var/lib/consul/node-id",
            "/opt/consul/data/node-id",
        ],
        Remove,
        "a cluster refuses a second node of one id; made again",
    )
    .secret(),
    row(
        "nomad",
        "the Nomad client's id and secret",
        &[
            "/opt/nomad/data/client/*-id",
            "/var/lib/nomad/client/*-id",
            "/opt/nomad/client/*-id",
        ],
        Remove,
        "a cluster takes clones for one node; made again",
    )
    .secret(),
    row(
        "vault",
        "a Vault server's data",
        &["/opt/vault/data/*", "/var/lib/vault/*"],
        Notice(None, FRESH),
        MEMBER,
    ),
    row(
        "mysql-uuid",
        "the MySQL server's UUID",
        &["/var/lib/mysql/auto.cnf"],
        Remove,
        "replication refuses two servers of one UUID; made again at start",
    )
    .secret(),
    row(
        "postgresql",
        "a PostgreSQL cluster's data",
        &[
            "/var/lib/postgresql/*/*/global/pg_control",
            "/var/lib/pgsql/data/global/pg_control",
        ],
        Notice(
            None,
            "make the cluster in each clone (pg_createcluster, initdb)",
        ),
        MEMBER,
    ),
    row(
        "mongodb",
        "a MongoDB server's data",
        &["/var/lib/mongodb/WiredTiger", "/var/lib/mongo/WiredTiger"],
        Notice(None, FRESH),
        MEMBER,
    ),
    row(
        "elasticsearch",
        "an Elasticsearch or OpenSearch node's data",
        &[
            "/var/lib/elasticsearch/nodes",
            "/var/lib/elasticsearch/_state",
            "/var/lib/opensearch/nodes",
        ],
        Notice(None, FRESH),
        MEMBER,
    ),
    row(
        "kafka",
        "a Kafka broker's data",
        &[
            "/var/lib/kafka/**/meta.properties",
            "/tmp/kafka-logs/meta.properties",
        ],
        Notice(None, FRESH),
        MEMBER,
    ),
    row(
        "cassandra",
        "a Cassandra node's data",
        &["/var/lib/cassandra/data/system"],
        Notice(None, FRESH),
        MEMBER,
    ),
    row(
        "zookeeper",
        "a ZooKeeper server's id",
        &["/var/lib/zookeeper/myid", "/etc/zookeeper/conf/myid"],
        Notice(None, "give each clone its number when it is made"),
        MEMBER,
    ),
    row(
        "redis-cluster",
        "a Redis node's id in its cluster",
        &["/var/lib/redis/nodes.conf", "/var/lib/valkey/nodes.conf"],
        Remove,
        "a cluster takes clones for one node; made again",
    )
    .secret(),
    row(
        "rabbitmq-cookie",
        "the secret that lets Erlang nodes command each other",
        &["/var/lib/rabbitmq/.erlang.cookie", "~/.erlang.cookie"],
        Remove,
        "whoever has one clone commands all; made again at start",
    )
    .secret(),
    row(
        "jenkins",
        "a Jenkins controller's keys",
        &[
            "/var/lib/jenkins/secret.key",
            "/var/lib/jenkins/identity.key.enc",
        ],
        Notice(None, FRESH),
        "its stored passwords can be read only with them",
    ),
    row(
        "gitlab-runner",
        "a GitLab runner's token",
        &["/etc/gitlab-runner/config.toml"],
        Notice(None, "register each clone when it is made"),
        "the same file holds its settings",
    ),
    row(
        "github-runner",
        "a GitHub runner's registration",
        &[
            "~/actions-runner/.runner",
            "~/actions-runner/.credentials",
            "~/actions-runner/.credentials_rsaparams",
        ],
        Remove,
        "clones would take each other's jobs; register each clone",
    )
    .secret(),
    row(
        "libvirt-host-uuid",
        "the host's id in libvirt",
        &["/etc/libvirt/libvirtd.conf", "/etc/libvirt/virtqemud.conf"],
        Rewrite(|content, _| lines::drop_keys(content, &["host_uuid"])),
        "migration refuses two hosts of one id; without it the firmware's is used",
    ),
    row(
        "postfix-name",
        "the mail server's own name",
        &["/etc/postfix/main.cf"],
        Rewrite(names::postfix),
        "mail of all clones would come from one name; without it postfix takes the host name",
    ),
    row(
        "exim-name",
        "the mail server's own name",
        &["/etc/exim4/update-exim4.conf.conf"],
        Rewrite(names::exim),
        "clones would accept mail for the template",
    ),
    row(
        "mailname",
        "the name that mail comes from",
        &["/etc/mailname"],
        Regenerate(UNIT),
        "mail of all clones would come from one name",
    ),
    row(
        "samba-name",
        "the NetBIOS name",
        &["/etc/samba/smb.conf"],
        Rewrite(|content, _| lines::drop_keys(content, &["netbios name"])),
        "two servers of one name block each other; without it the host name is used",
    ),
];
