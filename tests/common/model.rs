//! What a manager should do, in plain vectors: nothing is ever thrown away, and every answer is worked out anew.

use std::collections::{BTreeMap, VecDeque};

use genglossary_runs::core::{Fence, Limits, RunId, Stats};

/// An event that was published.
pub struct Published {
    pub name: Option<&'static str>,
    pub json: String,
}

/// One life of a run id.
pub struct Life {
    pub run_id: RunId,
    /// All that was ever published to it.
    pub events: Vec<Published>,
    pub finished: bool,
    /// Known once the manager has told it.
    pub fence: Option<Fence>,
}

/// Who wants a run, apart from its readers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    None,
    Reserved,
    Open,
}

/// A reader of the life with that index.
pub struct Reader {
    pub life: usize,
    /// The seq it reads next.
    pub next: u64,
    /// Private messages, each with the seq of the event after which it is read.
    pub private: VecDeque<(u64, String)>,
    pub closed: bool,
}

/// A manager that forgets nothing.
pub struct Model {
    pub limits: Limits,
    pub lives: Vec<Life>,
    /// The life of each run that is yet to finish.
    pub live: BTreeMap<RunId, (usize, Claim)>,
    /// Lives, oldest first.
    pub retained: Vec<usize>,
    pub readers: Vec<Reader>,
    published: u64,
    missed: u64,
}

impl Life {
    pub fn last(&self) -> u64 {
        self.events.len() as u64
    }

    /// The seq of the oldest event within the limits.
    fn first(&self, limits: &Limits) -> u64 {
        let (mut held, mut bytes) = (0, 0);
        for event in self.events.iter().rev() {
            bytes += event.json.len();
            if held > 0 && (held == limits.log.events || bytes > limits.log.bytes) {
                break;
            }
            held += 1;
        }
        self.last() - held as u64 + 1
    }

    fn held(&self, limits: &Limits) -> &[Published] {
        &self.events[self.first(limits) as usize - 1..]
    }

    fn bytes(&self, limits: &Limits) -> usize {
        self.held(limits).iter().map(|event| event.json.len()).sum()
    }
}

impl Model {
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            lives: Vec::new(),
            live: BTreeMap::new(),
            retained: Vec::new(),
            readers: Vec::new(),
            published: 0,
            missed: 0,
        }
    }

    /// The life of a run that is yet to finish, made if there is none.
    fn entry(&mut self, run_id: &RunId) -> &mut (usize, Claim) {
        self.live.entry(run_id.clone()).or_insert_with_key(|run_id| {
            self.lives.push(Life { run_id: run_id.clone(), events: Vec::new(), finished: false, fence: None });
            (self.lives.len() - 1, Claim::None)
        })
    }

    pub fn claim(&self, run_id: &RunId) -> Claim {
        self.live.get(run_id).map_or(Claim::None, |(_, claim)| *claim)
    }

    fn retained_life(&self, run_id: &RunId) -> Option<usize> {
        self.retained.iter().copied().find(|life| self.lives[*life].run_id == *run_id)
    }

    fn stop_retaining(&mut self, run_id: &RunId) {
        self.retained.retain(|life| self.lives[*life].run_id != *run_id);
    }

    pub fn open(&mut self, run_id: &RunId) -> bool {
        if self.claim(run_id) == Claim::Open {
            return false;
        }
        self.entry(run_id).1 = Claim::Open;
        self.stop_retaining(run_id);
        true
    }

    pub fn abandon(&mut self, run_id: &RunId) -> bool {
        let open = self.claim(run_id) == Claim::Open;
        if open {
            self.entry(run_id).1 = Claim::None;
            self.clear();
        }
        open
    }

    pub fn reserve(&mut self, run_id: &RunId) {
        let (_, claim) = self.entry(run_id);
        if *claim == Claim::None {
            *claim = Claim::Reserved;
        }
    }

    /// The seq, and the life it is in.
    pub fn publish(&mut self, run_id: &RunId, event: Published) -> Option<(u64, &mut Life)> {
        let (life, _) = self.live.get(run_id)?;
        let life = &mut self.lives[*life];
        life.events.push(event);
        self.published += 1;
        Some((life.last(), life))
    }

    pub fn finish(&mut self, run_id: &RunId, json: String, unless_open: bool) -> bool {
        let refused = match self.live.get(run_id) {
            Some((_, claim)) => unless_open && *claim == Claim::Open,
            None => self.retained_life(run_id).is_some(),
        };
        if refused {
            return false;
        }
        let (life, _) = *self.entry(run_id);
        self.publish(run_id, Published { name: None, json });
        self.lives[life].finished = true;
        self.live.remove(run_id);
        self.stop_retaining(run_id);
        self.retained.push(life);
        let limits = self.limits.retention;
        let bytes =
            |model: &Self| model.retained.iter().map(|life| model.lives[*life].bytes(&model.limits)).sum::<usize>();
        while !self.retained.is_empty()
            && (limits.age.is_zero() || self.retained.len() > limits.runs || bytes(self) > limits.bytes)
        {
            self.retained.remove(0);
        }
        true
    }

    /// The terminal event of a run that is retained.
    pub fn terminal(&self, run_id: &RunId) -> Option<&String> {
        Some(&self.lives[self.retained_life(run_id)?].events.last()?.json)
    }

    /// Whether an event's id shows that the run has ended, and nothing is kept of it. The manager has given the id's fence
    /// out.
    pub fn has_forgotten(&self, run_id: &RunId, fence: Fence, seq: u64) -> bool {
        let expected = |(life, claim): &(usize, Claim)| *claim != Claim::None || self.lives[*life].fence == Some(fence);
        seq > 0 && !self.live.get(run_id).is_some_and(expected) && self.retained_life(run_id).is_none()
    }

    /// The life that a new reader reads, made if need be.
    pub fn life_to_read(&mut self, run_id: &RunId, must_exist: bool) -> Option<usize> {
        let known = self.live.get(run_id).map(|(life, _)| *life).or_else(|| self.retained_life(run_id));
        if known.is_none() && must_exist {
            return None;
        }
        Some(known.unwrap_or_else(|| self.entry(run_id).0))
    }

    /// How many read that life.
    fn readers_of(&self, life: usize) -> usize {
        self.readers.iter().filter(|reader| reader.life == life && !reader.closed).count()
    }

    /// Remove the entries that nobody wants any more.
    pub fn clear(&mut self) {
        let unwanted: Vec<RunId> = self
            .live
            .iter()
            .filter(|(_, (life, claim))| *claim == Claim::None && self.readers_of(*life) == 0)
            .map(|(run_id, _)| run_id.clone())
            .collect();
        self.live.retain(|run_id, _| !unwanted.contains(run_id));
    }

    pub fn unread(&self, reader: &Reader) -> usize {
        if reader.closed {
            return 0;
        }
        let life = &self.lives[reader.life];
        let first = life.first(&self.limits);
        (life.last() + 1 - reader.next.max(first)) as usize + reader.private.len()
    }

    /// Whether the reader will never get anything again.
    pub fn is_ended(&self, reader: &Reader) -> bool {
        let life = &self.lives[reader.life];
        reader.closed || (life.finished && reader.next > life.last() && reader.private.is_empty())
    }

    /// What the reader with that index gets next, in short; `Err` says whether there may ever be more.
    pub fn read(&mut self, reader: usize) -> Result<String, bool> {
        let reader = &mut self.readers[reader];
        if reader.closed {
            return Err(false);
        }
        if let Some((after, private)) = reader.private.pop_front() {
            if after < reader.next {
                return Ok(format!("private {private}"));
            }
            reader.private.push_front((after, private));
        }
        let life = &self.lives[reader.life];
        let (seq, first) = (reader.next, life.first(&self.limits));
        if seq < first {
            reader.next = first;
            self.missed += first - seq;
            return Ok(format!("gap {seq}-{}", first - 1));
        }
        let Published { name, json } = life.events.get(seq as usize - 1).ok_or(!life.finished)?;
        reader.next += 1;
        let end = if life.finished && seq == life.last() { "end " } else { "" };
        let name = name.map(|name| format!("{name}: ")).unwrap_or_default();
        Ok(format!("{end}{seq} {name}{json}"))
    }

    pub fn runs_with(&self, wanted: impl Fn(usize, Claim) -> bool) -> Vec<RunId> {
        self.live.iter().filter(|(_, (life, claim))| wanted(*life, *claim)).map(|(run_id, _)| run_id.clone()).collect()
    }

    pub fn subscribed_runs(&self) -> Vec<RunId> {
        self.runs_with(|life, _| self.readers_of(life) > 0)
    }

    pub fn stats(&self) -> Stats {
        let held = || self.live.values().map(|(life, _)| life).chain(&self.retained).map(|life| &self.lives[*life]);
        let active_runs = self.runs_with(|_, claim| claim == Claim::Open).len();
        Stats {
            active_runs,
            subscribed_runs: self.live.len() - active_runs,
            subscribers: self.live.values().map(|(life, _)| self.readers_of(*life)).sum(),
            retained_runs: self.retained.len(),
            events_held: held().map(|life| life.held(&self.limits).len()).sum(),
            bytes_held: held().map(|life| life.bytes(&self.limits)).sum(),
            events_published: self.published,
            bytes_published: self.lives.iter().flat_map(|life| &life.events).map(|event| event.json.len() as u64).sum(),
            events_missed: self.missed,
        }
    }
}
