//! The scripts, one a file, each named for what it does. The server knows them by their hashes.

use redis::{ConnectionLike, Pipeline, RedisResult, Script};

/// Scripts of these names, each with what all of them share before it.
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

            /// Have the server know all of them.
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
