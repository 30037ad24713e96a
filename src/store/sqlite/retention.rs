//! What a store keeps, bounded by age, number of runs and bytes.

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use crate::store::record::now;
use crate::store::store::Limits;

/// Events removed per transaction, during which other processes wait.
const STEP: i64 = 5000;
/// Free pages that are kept for reuse.
const SPARE_PAGES: i64 = 1000;
/// Milliseconds after which nobody waits for the reply to a command.
const COMMAND_AGE: u64 = 60_000;

/// Bytes of the file in use.
pub fn used(db: &Connection) -> rusqlite::Result<u64> {
    let number = |pragma| db.pragma_query_value(None, pragma, |row| row.get::<_, u64>(0));
    Ok((number("page_count")? - number("freelist_count")?) * number("page_size")?)
}

/// What to remove next.
enum Excess {
    /// A finished run.
    Run(u64),
    /// The oldest events of a run that has not ended.
    Events(u64),
}

/// Remove part of what is over the limits. Returns whether there is more.
pub fn evict(db: &mut Connection, limits: Limits) -> rusqlite::Result<bool> {
    let excess = excess(db, limits)?;
    if let Some(excess) = &excess {
        let change = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        remove(&change, excess)?;
        change.commit()?;
    }
    let now = now();
    // A clock that is set back leaves commands in the future. A cancel waits for its owner until the run has ended.
    let window = params![now.saturating_sub(COMMAND_AGE), now + COMMAND_AGE];
    let stale = "FROM commands AS c WHERE sent NOT BETWEEN ?1 AND ?2 AND (kind <> 'cancel' OR replied OR NOT EXISTS \
                 (SELECT 1 FROM runs AS r WHERE r.fence = c.fence AND r.status = 'running'))";
    if db.prepare_cached(&format!("SELECT EXISTS (SELECT 1 {stale})"))?.query_row(window, |row| row.get(0))? {
        let delete = "DELETE FROM commands WHERE number IN (SELECT number ";
        db.prepare_cached(&format!("{delete}{stale})"))?.execute(window)?;
    }
    let spare: i64 = db.pragma_query_value(None, "freelist_count", |row| row.get(0))?;
    if spare > 2 * SPARE_PAGES {
        let mut vacuum = db.prepare(&format!("PRAGMA incremental_vacuum({SPARE_PAGES})"))?;
        let mut pages = vacuum.query([])?;
        while pages.next()?.is_some() {}
    }
    Ok(excess.is_some() || spare > 3 * SPARE_PAGES)
}

/// What is over the limits.
fn excess(db: &Connection, limits: Limits) -> rusqlite::Result<Option<Excess>> {
    let oldest = "SELECT fence, finished FROM runs WHERE finished IS NOT NULL ORDER BY finished LIMIT 1";
    let oldest: Option<(u64, u64)> =
        db.prepare_cached(oldest)?.query_row([], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    let too_large = used(db)? > limits.bytes;
    let Some((fence, finished)) = oldest else {
        if !too_large {
            return Ok(None);
        }
        let longest = "SELECT fence FROM events GROUP BY fence HAVING count(*) > 1 ORDER BY count(*) DESC LIMIT 1";
        let longest: Option<u64> = db.prepare_cached(longest)?.query_row([], |row| row.get(0)).optional()?;
        return Ok(longest.map(Excess::Events));
    };
    let age = u64::try_from(limits.age.as_millis()).unwrap_or(u64::MAX);
    let runs: u64 = db.prepare_cached("SELECT count(*) FROM runs")?.query_row([], |row| row.get(0))?;
    let excessive = too_large || now().saturating_sub(finished) >= age || runs > limits.runs;
    Ok(excessive.then_some(Excess::Run(fence)))
}

fn remove(tx: &Connection, excess: &Excess) -> rusqlite::Result<()> {
    let (Excess::Run(fence) | Excess::Events(fence)) = excess;
    let kept = match excess {
        Excess::Run(_) => "0",
        Excess::Events(_) => "(SELECT max(seq) FROM events WHERE fence = ?1)",
    };
    // The terminal event of a finished run is removed last, with its record.
    let removed = tx
        .prepare_cached(&format!(
            "DELETE FROM events WHERE fence = ?1 AND seq <> {kept} AND seq <= \
             (SELECT max(seq) FROM (SELECT seq FROM events WHERE fence = ?1 ORDER BY seq LIMIT ?2))"
        ))?
        .execute(params![fence, STEP])?;
    if matches!(excess, Excess::Run(_)) && i64::try_from(removed).is_ok_and(|removed| removed < STEP) {
        tx.prepare_cached("DELETE FROM results WHERE fence = ?1")?.execute([fence])?;
        tx.prepare_cached("DELETE FROM runs WHERE fence = ?1")?.execute([fence])?;
    }
    Ok(())
}
