//! Sentinels, which know the current master among replicated servers.

use std::time::Duration;

use redis::{Client, IntoConnectionInfo, RedisError, RedisResult};

/// How long one Sentinel may take. The engine waits meanwhile, and there are other Sentinels to ask.
const TIMEOUT: Duration = Duration::from_millis(500);

/// The default port.
const PORT: &str = "26379";

/// The Sentinels that watch one master.
#[derive(Debug, Clone)]
pub struct Sentinels {
    clients: Vec<Client>,
    master: String,
}

/// The result of parsing a URL of Sentinels.
pub struct Named {
    pub sentinels: Sentinels,
    /// The URL of the master, with the address of the first Sentinel in place of its own.
    pub template: String,
    /// A name for people.
    pub name: String,
}

impl Sentinels {
    /// Parse what follows the scheme of a URL: `[USER:PASSWORD@]HOST[:PORT][,…]/MASTER[/DATABASE]`. The Sentinels and the
    /// master are used with `scheme`: `redis`, or `rediss` for TLS.
    ///
    /// # Errors
    ///
    /// A description of what is wrong with it.
    pub fn parse(scheme: &str, rest: &str) -> Result<Named, String> {
        let (user, rest) = rest.rsplit_once('@').map_or(("", rest), |(user, rest)| (user, rest));
        let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (master, database) = path.split_once('/').unwrap_or((path, "0"));
        if master.is_empty() {
            return Err("the master's name is missing: redis+sentinel://HOST:26379,HOST:26379/MASTER/0".to_owned());
        }
        let hosts: Vec<String> = hosts.split(',').map(with_port).collect();
        let at = if user.is_empty() { "" } else { "@" };
        let first = hosts.first().map_or("", String::as_str);
        let template = format!("{scheme}://{user}{at}{first}/{database}");
        let open = |host: &String| Client::open(format!("{scheme}://{host}").into_connection_info()?);
        let clients = hosts.iter().map(open).collect::<RedisResult<_>>().map_err(|error| error.to_string())?;
        let name = format!("{}/{master}/{database}", hosts.join(","));
        Ok(Named { sentinels: Self { clients, master: master.to_owned() }, template, name })
    }

    /// The address of the master, `host:port`, according to the first Sentinel that knows it.
    ///
    /// # Errors
    ///
    /// Why no Sentinel answers, or that none knows the master.
    pub fn find(&self) -> Result<String, String> {
        let mut problem = format!("no Sentinel knows the master {}", self.master);
        for client in &self.clients {
            match self.ask(client) {
                Ok(Some((host, port))) => return Ok(format!("{host}:{port}")),
                Ok(None) => {}
                Err(error) => problem = format!("the Sentinel at {}: {error}", client.get_connection_info().addr()),
            }
        }
        Err(problem)
    }

    fn ask(&self, sentinel: &Client) -> Result<Option<(String, u16)>, RedisError> {
        let mut connection = sentinel.get_connection_with_timeout(TIMEOUT)?;
        connection.set_read_timeout(Some(TIMEOUT))?;
        connection.set_write_timeout(Some(TIMEOUT))?;
        redis::cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(&self.master).query(&mut connection)
    }
}

fn with_port(host: &str) -> String {
    // The colons of an IPv6 address are within brackets.
    let has_port = host.rsplit(']').next().is_some_and(|rest| rest.contains(':'));
    if has_port { host.to_owned() } else { format!("{host}:{PORT}") }
}
