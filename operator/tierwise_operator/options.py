"""Lists every setting of the process as a flag and as an environment variable."""

from __future__ import annotations

from dataclasses import dataclass

LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
LOG_FORMATS = ("text", "json")
PULL_POLICIES = ("Always", "IfNotPresent", "Never")


@dataclass(frozen=True, slots=True)
class Option:
    """One setting as a flag and as an environment variable."""

    field: str
    flag: str
    variable: str
    text: str
    metavar: str = "TEXT"


OPTIONS = (
    Option("namespaces", "--namespaces", "TIERWISE_NAMESPACES", "namespaces to serve, by comma; empty: all", "NS,NS"),
    Option("kubeconfig", "--kubeconfig", "TIERWISE_KUBECONFIG", "API server to use; in a pod: its own", "FILE"),
    Option("context", "--context", "TIERWISE_CONTEXT", "context of the kubeconfig"),
    Option("watch_nodes", "--watch-nodes", "TIERWISE_WATCH_NODES", "whether to look at the nodes' GPUs", "BOOL"),
    Option("watch_pools", "--watch-pools", "TIERWISE_WATCH_POOLS", "whether to serve GPUPools", "BOOL"),
    Option("hub_url", "--hub-url", "TIERWISE_HUB_URL", "hub that describes hf:// models; none: asks nobody", "URL"),
    Option("hub_ca_file", "--hub-ca-file", "TIERWISE_HUB_CA_FILE", "CA of an https hub", "FILE"),
    Option("engine_hub_url", "--engine-hub-url", "TIERWISE_ENGINE_HUB_URL", "the hub as engines reach it", "URL"),
    Option("hub_offline", "--hub-offline", "TIERWISE_HUB_OFFLINE", "whether nobody may ask a hub", "BOOL"),
    Option(
        "allow_remote_code",
        "--allow-remote-code",
        "TIERWISE_ALLOW_REMOTE_CODE",
        "whether tiers may run code of their checkpoints",
        "BOOL",
    ),
    Option(
        "host_paths",
        "--host-paths",
        "TIERWISE_HOST_PATHS",
        "folders of nodes in which tiers may keep weights, by comma",
        "PATH,PATH",
    ),
    Option("prometheus_url", "--prometheus-url", "TIERWISE_PROMETHEUS_URL", "where Prometheus answers", "URL"),
    Option(
        "prometheus_bearer_file",
        "--prometheus-bearer-file",
        "TIERWISE_PROMETHEUS_BEARER_FILE",
        "file with a bearer token for Prometheus",
        "FILE",
    ),
    Option(
        "prometheus_username_file",
        "--prometheus-username-file",
        "TIERWISE_PROMETHEUS_USERNAME_FILE",
        "file with a user name for Prometheus",
        "FILE",
    ),
    Option(
        "prometheus_password_file",
        "--prometheus-password-file",
        "TIERWISE_PROMETHEUS_PASSWORD_FILE",
        "file with its password",
        "FILE",
    ),
    Option(
        "prometheus_ca_file",
        "--prometheus-ca-file",
        "TIERWISE_PROMETHEUS_CA_FILE",
        "CA of an https Prometheus",
        "FILE",
    ),
    Option(
        "prometheus_certificate_file",
        "--prometheus-certificate-file",
        "TIERWISE_PROMETHEUS_CERTIFICATE_FILE",
        "client certificate for Prometheus",
        "FILE",
    ),
    Option(
        "prometheus_key_file",
        "--prometheus-key-file",
        "TIERWISE_PROMETHEUS_KEY_FILE",
        "its key",
        "FILE",
    ),
    Option(
        "prometheus_skip_verify",
        "--prometheus-skip-verify",
        "TIERWISE_PROMETHEUS_SKIP_VERIFY",
        "trusts any certificate of Prometheus: for trying out only",
        "BOOL",
    ),
    Option(
        "prometheus_matchers",
        "--prometheus-matchers",
        "TIERWISE_PROMETHEUS_MATCHERS",
        "labels that every series must have, by comma",
        "LABEL=VALUE",
    ),
    Option(
        "prometheus_tenant",
        "--prometheus-tenant",
        "TIERWISE_PROMETHEUS_TENANT",
        "sent as X-Scope-OrgID (Mimir, Thanos)",
    ),
    Option("scrape_seconds", "--scrape-seconds", "TIERWISE_SCRAPE_SECONDS", "scrape interval of the engines", "S"),
    Option(
        "query_timeout_seconds",
        "--query-timeout-seconds",
        "TIERWISE_QUERY_TIMEOUT_SECONDS",
        "how long one query may take",
        "S",
    ),
    Option("tick_seconds", "--tick-seconds", "TIERWISE_TICK_SECONDS", "between two decisions without events", "S"),
    Option("metrics_host", "--metrics-host", "TIERWISE_METRICS_HOST", "address of /metrics, /healthz, /readyz", "ADDR"),
    Option("metrics_port", "--metrics-port", "TIERWISE_METRICS_PORT", "port of the same; 0: any free one", "PORT"),
    Option("lease_name", "--lease-name", "TIERWISE_LEASE_NAME", "the Lease that lets one process write"),
    Option("lease_namespace", "--lease-namespace", "POD_NAMESPACE", "namespace of the Lease"),
    Option("lease_seconds", "--lease-seconds", "TIERWISE_LEASE_SECONDS", "after how long another may take over", "S"),
    Option(
        "lease_renew_deadline_seconds",
        "--lease-renew-deadline-seconds",
        "TIERWISE_LEASE_RENEW_DEADLINE_SECONDS",
        "after how long without renewal this process stops writing",
        "S",
    ),
    Option("lease_retry_seconds", "--lease-retry-seconds", "TIERWISE_LEASE_RETRY_SECONDS", "between two renewals", "S"),
    Option("identity", "--identity", "POD_NAME", "name of this process in the Lease and in Events"),
    Option("router_image", "--router-image", "TIERWISE_ROUTER_IMAGE", "image of the routers of ModelRoutes", "IMAGE"),
    Option(
        "router_pull_policy",
        "--router-pull-policy",
        "TIERWISE_ROUTER_PULL_POLICY",
        f"when it is pulled: {', '.join(PULL_POLICIES)}",
    ),
    Option(
        "router_pull_secrets",
        "--router-pull-secrets",
        "TIERWISE_ROUTER_PULL_SECRETS",
        "Secrets in the namespace of a route to pull it with, by comma",
        "NAME,NAME",
    ),
    Option(
        "router_resources",
        "--router-resources",
        "TIERWISE_ROUTER_RESOURCES",
        "requests and limits of a router, as in a pod",
        "JSON",
    ),
    Option(
        "router_body_memory_mib",
        "--router-body-memory-mib",
        "TIERWISE_ROUTER_BODY_MEMORY_MIB",
        "what the bodies of all requests in a router may take together",
        "MIB",
    ),
    Option(
        "router_env",
        "--router-env",
        "TIERWISE_ROUTER_ENV",
        "further variables of a router's container, as in a pod",
        "JSON",
    ),
    Option(
        "router_security_context",
        "--router-security-context",
        "TIERWISE_ROUTER_SECURITY_CONTEXT",
        "whose user number routers have: Fixed (65532), or Namespace (the cluster gives one)",
    ),
    Option("router_role", "--router-role", "TIERWISE_ROUTER_ROLE", "ClusterRole that is bound for the routers", "NAME"),
    Option("ip_family", "--ip-family", "TIERWISE_IP_FAMILY", "what engines and routers listen on: IPv4, IPv6"),
    Option("log_level", "--log-level", "TIERWISE_LOG_LEVEL", ", ".join(LOG_LEVELS)),
    Option("log_format", "--log-format", "TIERWISE_LOG_FORMAT", "text for people, json for machines"),
)
