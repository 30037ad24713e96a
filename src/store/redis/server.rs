//! The server: its address, connections to it, and its errors.

use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::{
    Client, Connection, ConnectionAddr, ConnectionInfo, FromRedisValue, IntoConnectionInfo, RedisError, RedisResult,
    Script, Value, from_redis_value,
};
use redis::{ServerErrorKind, ToRedisArgs};

use super::scripts::Scripts;
use super::sentinels::{Named, Sentinels};
use crate::core::Fence;
use crate::core::sync::Mutex;
use crate::store::store::{Error, Result};

/// How long connecting, and any answer, may take. The engine waits meanwhile; publishers do not.
const TIMEOUT: Duration = Duration::from_secs(2);

/// How often the nodes of a cluster are looked up.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);

/// How many redirections of a cluster are followed.
const REDIRECTIONS: usize = 5;

/// What follows the scheme in a URL of Sentinels.
const SENTINELS: &str = "+sentinel://";

/// The address of a server.
#[derive(Debug, Clone)]
pub struct Address {
    client: Client,
    name: String,
    /// If set, they know the current address instead of the client.
    sentinels: Option<Sentinels>,
    /// The nodes of its cluster, `host:port`, in the order to try. A leaf.
    nodes: Arc<Mutex<Vec<String>>>,
}

impl Address {
    /// Parse a URL.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`]: it is not the URL of a server.
    pub fn of_url(url: &str) -> Result<Self> {
        let refused =
            |error: &dyn std::fmt::Display| Error::Refused(format!("this is not the URL of a Redis server: {error}"));
        if let Some((scheme @ ("redis" | "rediss"), rest)) = url.split_once(SENTINELS) {
            let Named { sentinels, template, name } =
                Sentinels::parse(scheme, rest).map_err(|error| refused(&error))?;
            let client = Client::open(template).map_err(|error| refused(&error))?;
            return Ok(Self { client, name, sentinels: Some(sentinels), nodes: Arc::default() });
        }
        let info: ConnectionInfo = url.into_connection_info().map_err(|error| refused(&error))?;
        let name = format!("{}/{}", info.addr(), info.redis_settings().db());
        let client = Client::open(info).map_err(|error| refused(&error))?;
        Ok(Self { client, name, sentinels: None, nodes: Arc::default() })
    }

    /// The current address. A server that is no longer a master refuses to be used.
    fn found(&self) -> Result<Self> {
        let Some(sentinels) = &self.sentinels else { return Ok(self.clone()) };
        let node = sentinels.find().map_err(|problem| Error::Failed(format!("{}: {problem}", self.name)))?;
        self.at(&node).ok_or_else(|| Error::Failed(format!("{}: {node} is not an address", self.name)))
    }

    /// Hosts, ports and database, for people. Unlike a URL, it has no password.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether both are used as the same user and with the same encryption.
    pub fn has_user_of(&self, other: &Self) -> bool {
        let how = |address: &Self| {
            let info = address.client.get_connection_info();
            let (settings, is_tls) = (info.redis_settings(), matches!(info.addr(), ConnectionAddr::TcpTls { .. }));
            (settings.username().map(str::to_owned), settings.password().map(str::to_owned), is_tls)
        };
        how(self) == how(other)
    }

    /// Connect, with a timeout for each answer.
    pub(super) fn connect(&self) -> Result<Connection> {
        let connect = || {
            let connection = self.client.get_connection_with_timeout(TIMEOUT)?;
            connection.set_read_timeout(Some(TIMEOUT))?;
            connection.set_write_timeout(Some(TIMEOUT))?;
            Ok(connection)
        };
        connect().map_err(|error| self.failure(&error))
    }

    /// The same for another address, `host:port`: a node of the same cluster, or a master.
    fn at(&self, node: &str) -> Option<Self> {
        let (host, port) = node.rsplit_once(':')?;
        let port = port.parse().ok()?;
        let info = self.client.get_connection_info().clone();
        // A node that does not know its own host leaves it out.
        let same = |known: &str| if host.is_empty() { known.to_owned() } else { host.to_owned() };
        let addr = match info.addr().clone() {
            ConnectionAddr::Tcp(known, _) => ConnectionAddr::Tcp(same(&known), port),
            ConnectionAddr::TcpTls { host: known, insecure, tls_params, .. } => {
                ConnectionAddr::TcpTls { host: same(&known), port, insecure, tls_params }
            }
            _ => return None,
        };
        let (client, name) = (Client::open(info.set_addr(addr)).ok()?, self.name.clone());
        Some(Self { client, name, sentinels: None, nodes: self.nodes.clone() })
    }

    /// The known nodes of its cluster.
    fn known(&self) -> Vec<Self> {
        self.nodes.lock().iter().filter_map(|node| self.at(node)).collect()
    }

    /// Move the first node of the cluster to the end of the order to try.
    fn demote(&self) {
        let mut nodes = self.nodes.lock();
        let first = nodes.len().min(1);
        nodes.rotate_left(first);
    }

    fn failure(&self, error: &RedisError) -> Error {
        if error.is_timeout() {
            return Error::Failed(format!("{} did not answer within {} s", self.name, TIMEOUT.as_secs()));
        }
        Error::Failed(format!("{}: {error}", self.name))
    }
}

/// A node, from the answer to CLUSTER SLOTS. A node that does not know its own host leaves it out.
fn node_name(node: Value) -> Option<String> {
    let mut parts = from_redis_value::<Vec<Value>>(node).ok()?.into_iter();
    let host: Option<String> = from_redis_value(parts.next()?).ok()?;
    let port: u16 = from_redis_value(parts.next()?).ok()?;
    Some(format!("{}:{port}", host.unwrap_or_default()))
}

/// A connection with the scripts, for one project.
pub(super) struct Server {
    address: Address,
    prefix: String,
    scripts: Scripts,
    connection: Connection,
    /// The connection may be out of step with its answers, or leads to a server that cannot be used.
    is_broken: bool,
    /// If it is a node of a cluster: when to look up the others.
    next_look: Option<Instant>,
}

impl Server {
    /// Connect; in a cluster by any known node, since the node of the URL may have died.
    pub fn connect(address: &Address, prefix: &str) -> Result<Self> {
        let (address, began) = (address.found()?, Instant::now());
        for node in address.known() {
            if let Ok(server) = Self::connect_by(node, prefix) {
                return Ok(server);
            }
            address.demote();
            if began.elapsed() >= TIMEOUT {
                break;
            }
        }
        Self::connect_by(address, prefix)
    }

    /// Connect. In a cluster, all keys of a project are in one slot, and any node tells which node has it.
    fn connect_by(mut address: Address, prefix: &str) -> Result<Self> {
        for _ in 0..REDIRECTIONS {
            let mut connection = address.connect()?;
            let asked: RedisResult<()> = redis::cmd("EXISTS").arg(format!("{prefix}:clock")).exec(&mut connection);
            match asked {
                Ok(()) => {
                    let (prefix, scripts) = (prefix.to_owned(), Scripts::new());
                    return Ok(Self { address, prefix, scripts, connection, is_broken: false, next_look: None });
                }
                Err(error) => match error.redirect_node().and_then(|(node, _)| address.at(node)) {
                    Some(node) => address = node,
                    None => return Err(address.failure(&error)),
                },
            }
        }
        Err(Error::Failed(format!("no node of the cluster at {} serves the project's keys", address.name)))
    }

    /// The server that was found: a node of a cluster, or the master that Sentinels name.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// A key of the project.
    pub fn key(&self, parts: &[&str]) -> String {
        format!("{}:{}", self.prefix, parts.join(":"))
    }

    /// The key of the events of one life of a run.
    pub fn events_key(&self, fence: Fence) -> String {
        self.key(&["events", &fence.to_string()])
    }

    /// Refuse a server that is too old, and load the scripts. Returns a warning about its settings, if any.
    pub fn prepare(&mut self) -> Result<Option<String>> {
        let info: String = self.query(|connection| redis::cmd("INFO").query(connection))?;
        let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap_or("");
        let version = field("redis_version");
        let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
        if major.is_none_or(|major| major < 7) {
            return Err(Error::Refused(format!("{} is Redis {version}; 7.0 or later is required", self.address.name)));
        }
        let (scripts, connection) = (&self.scripts, &mut self.connection);
        let loaded = scripts.load(connection);
        self.check(loaded)?;
        self.next_look = (field("cluster_enabled") == "1").then(Instant::now);
        self.note_nodes();
        let (limit, policy) = (field("maxmemory"), field("maxmemory_policy"));
        let may_evict = limit != "0" && !limit.is_empty() && policy != "noeviction" && !policy.is_empty();
        Ok(may_evict.then(|| {
            format!(
                "{} may evict runs and their events when its memory is full (maxmemory-policy {policy}); \
                 set maxmemory-policy to noeviction",
                self.address.name
            )
        }))
    }

    /// Look up the nodes of the cluster from time to time, in case this one dies.
    pub fn note_nodes(&mut self) {
        let now = Instant::now();
        let Some(due) = self.next_look.as_mut().filter(|at| **at <= now) else { return };
        *due = now + LOOK_INTERVAL;
        // The user may lack the permission; then only the URL is known.
        let slots: Result<Vec<Vec<Value>>> =
            self.query(|connection| redis::cmd("CLUSTER").arg("SLOTS").query(connection));
        let Ok(slots) = slots else { return };
        // For each range of slots: the first, the last, then the nodes with host, port, and more.
        let nodes = slots.into_iter().flat_map(|range| range.into_iter().skip(2));
        let mut nodes: Vec<String> = nodes.filter_map(node_name).collect();
        nodes.sort();
        nodes.dedup();
        *self.address.nodes.lock() = nodes;
    }

    /// Fail if the connection cannot be used.
    pub fn check_connection(&self) -> Result<()> {
        if self.is_broken {
            return Err(Error::Failed(format!("the connection to {} was lost", self.address.name)));
        }
        Ok(())
    }

    /// Run a script.
    pub fn call<T: FromRedisValue>(
        &mut self,
        script: impl FnOnce(&Scripts) -> &Script,
        arguments: impl ToRedisArgs,
    ) -> Result<T> {
        self.check_connection()?;
        let mut call = script(&self.scripts).prepare_invoke();
        call.key(&self.prefix).arg(arguments);
        let answer = call.invoke(&mut self.connection);
        self.check(answer)
    }

    /// Send a request.
    pub fn query<T>(&mut self, ask: impl FnOnce(&mut Connection) -> RedisResult<T>) -> Result<T> {
        self.check_connection()?;
        let answer = ask(&mut self.connection);
        self.check(answer)
    }

    fn check<T>(&mut self, answer: RedisResult<T>) -> Result<T> {
        answer.map_err(|error| {
            // After a missing answer, the next one would be mistaken for it. A master that became a replica is found
            // again by name.
            let is_elsewhere = matches!(
                error.kind(),
                redis::ErrorKind::Server(
                    ServerErrorKind::ReadOnly
                        | ServerErrorKind::MasterDown
                        | ServerErrorKind::Moved
                        | ServerErrorKind::Ask
                        | ServerErrorKind::ClusterDown
                )
            );
            self.is_broken |= error.is_io_error() || error.is_unrecoverable_error() || is_elsewhere;
            self.address.failure(&error)
        })
    }
}
