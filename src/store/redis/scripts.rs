//! The scripts, one per file. The server identifies them by their hashes.

use redis::{ConnectionLike, Pipeline, RedisResult, Script};

/// Scripts of these names, each preceded by the code that all of them share.
macro_rules! scripts {
    ($($name:ident),*) => {
        /// The scripts of a connection.
        pub struct Scripts {
            $(pub $name: Script,)*
        }

        impl Scripts {
            pub fn new() -> Self {
                Self {
                    $($name: Script::new(concat!(
                        include_str!("common.lua"),
                        include_str!(concat!(stringify!($name), ".lua"))
                    )),)*
                }
            }

            /// Load all of them into the server.
            pub fn load(&self, connection: &mut dyn ConnectionLike) -> RedisResult<()> {
                let mut pipeline = Pipeline::new();
                $(pipeline.load_script(&self.$name).ignore();)*
                pipeline.exec(connection)
            }
        }
    };
}

scripts!(
    open, begin, restore, append, find, list, records, renew, owns, keep, send, commands, reply, take_reply, reap,
    disown, evict
);
