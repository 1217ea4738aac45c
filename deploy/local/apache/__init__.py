"""Apache Kafka itself (KRaft) as local processes, loopback only: one broker, or a cluster that can lose one."""

from deploy.local.apache.cluster import ApacheCluster, ClusterStatus

__all__ = ["ApacheCluster", "ClusterStatus"]
