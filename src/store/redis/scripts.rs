//! The scripts, one a file, each named for what it does. The server knows them by their hashes.

use redis::{ConnectionLike, Pipeline, RedisResult, Script};

/// A script with what all of them share before it.
macro_rules! script {
    ($name:literal) => {
        Script::new(concat!(include_str!("common.lua"), include_str!($name)))
    };
}

/// The scripts of a connection.
pub struct Scripts {
    pub open: Script,
    pub begin: Script,
    pub restore: Script,
    pub append: Script,
    pub find: Script,
    pub list: Script,
    pub records: Script,
    pub renew: Script,
    pub owns: Script,
    pub keep: Script,
    pub send: Script,
    pub commands: Script,
    pub reply: Script,
    pub take_reply: Script,
    pub reap: Script,
    pub disown: Script,
    pub evict: Script,
}

impl Scripts {
    pub fn new() -> Self {
        Self {
            open: script!("open.lua"),
            begin: script!("begin.lua"),
            restore: script!("restore.lua"),
            append: script!("append.lua"),
            find: script!("find.lua"),
            list: script!("list.lua"),
            records: script!("records.lua"),
            renew: script!("renew.lua"),
            owns: script!("owns.lua"),
            keep: script!("keep.lua"),
            send: script!("send.lua"),
            commands: script!("commands.lua"),
            reply: script!("reply.lua"),
            take_reply: script!("take_reply.lua"),
            reap: script!("reap.lua"),
            disown: script!("disown.lua"),
            evict: script!("evict.lua"),
        }
    }

    /// Have the server know all of them.
    pub fn load(&self, connection: &mut dyn ConnectionLike) -> RedisResult<()> {
        let all = [
            &self.open,
            &self.begin,
            &self.restore,
            &self.append,
            &self.find,
            &self.list,
            &self.records,
            &self.renew,
            &self.owns,
            &self.keep,
            &self.send,
            &self.commands,
            &self.reply,
            &self.take_reply,
            &self.reap,
            &self.disown,
            &self.evict,
        ];
        let mut pipeline = Pipeline::new();
        for script in all {
            pipeline.load_script(script).ignore();
        }
        pipeline.exec(connection)
    }
}
