//! Changes as they are applied to the trees: in order, in batches, each with its tree's new summary.

use std::collections::HashMap;

use sled::Batch;

use super::summary::{self, Summary};
use super::{Op, TREES, Tree, Trees, values};
use crate::error::StoreError;

/// A batch of the store is applied when it has grown to this.
const BATCH_BYTES: usize = 1 << 20;
/// Removals between two batches.
const REMOVALS_MAX: usize = 256;
/// What the summary needs of a head, and what tells how many chunks follow.
const HEAD_BYTES: usize = 12;

/// The trees with their summaries, to be changed together.
pub struct Changes<'a> {
    trees: &'a Trees,
    summaries: &'a mut [Summary; TREES.len()],
    /// The tree that the open batch belongs to.
    tree: Tree,
    batch: Batch,
    bytes: usize,
    /// The heads that the open batch will have put.
    heads: HashMap<Vec<u8>, Vec<u8>>,
}

impl<'a> Changes<'a> {
    /// Nothing yet.
    pub fn new(trees: &'a Trees, summaries: &'a mut [Summary; TREES.len()]) -> Self {
        Self { trees, summaries, tree: Tree::Log, batch: Batch::default(), bytes: 0, heads: HashMap::new() }
    }

    /// Applies changes in order.
    pub fn apply(mut self, ops: Vec<Op>) -> Result<(), StoreError> {
        for op in ops {
            let tree = op.tree();
            let put = matches!(op, Op::Put(..));
            if tree != self.tree || self.bytes >= BATCH_BYTES || !put {
                self.apply_batch()?;
                self.tree = tree;
            }
            match op {
                Op::Put(_, key, value) => self.put(&key, &value)?,
                Op::Remove(_, key) => self.remove(&key)?,
                Op::RemoveRange(_, from, to) => while !self.remove_some(&from, to.as_deref(), |_| true)? {},
                Op::RemovePrefix(_, prefix) => {
                    let end = after_prefix(&prefix);
                    while !self.remove_some(&prefix, end.as_deref(), |key| key.starts_with(&prefix))? {}
                }
            }
        }
        self.apply_batch()
    }

    /// Removes a little of what lies below a key, and tells whether that was all of it.
    pub fn sweep(mut self, tree: Tree, below: &[u8]) -> Result<bool, StoreError> {
        self.tree = tree;
        self.remove_some(&[], Some(below), |_| true)
    }

    fn stored(&self) -> &'a sled::Tree {
        self.trees.get(self.tree)
    }

    fn summary(&mut self) -> &mut Summary {
        &mut self.summaries[self.tree as usize]
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let mut further = 0;
        let before = self.head_before(key)?;
        for (number, (stored, part)) in values::parts(key, value).enumerate() {
            further = number as u32;
            if number == 0 {
                self.summary().add(&part);
                self.heads.insert(stored.clone(), part[..HEAD_BYTES].to_vec());
            }
            self.bytes += stored.len() + part.len();
            self.batch.insert(stored, part);
        }
        if let Some(before) = before {
            self.summary().subtract(&before);
            // A longer predecessor leaves chunks behind.
            for number in further + 1..=values::further_count(&before) {
                self.batch.remove(values::further_key(key, number));
            }
        }
        Ok(())
    }

    /// The head that a key has now, with the open batch applied.
    fn head_before(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let head = values::head_key(key);
        if let Some(pending) = self.heads.get(&head) {
            return Ok(Some(pending.clone()));
        }
        let stored = self.stored().get(head).map_err(|source| values::failed(self.tree, key, source))?;
        Ok(stored.map(|head| head.to_vec()))
    }

    fn remove(&mut self, key: &[u8]) -> Result<(), StoreError> {
        if let Some(head) = self.head_before(key)? {
            self.summary().subtract(&head);
            self.batch.remove(values::head_key(key));
            for number in 1..=values::further_count(&head) {
                self.batch.remove(values::further_key(key, number));
            }
            self.bytes += key.len() + 1;
            self.apply_batch()?;
        }
        Ok(())
    }

    /// Removes some of the keys between two, and tells whether that was all of them. Heads go before chunks: what a
    /// crash leaves behind of a value is then no value. Without an end they go from the last one down: what a crash
    /// leaves behind of a log that was to be cut off is then a log without a hole.
    fn remove_some(
        &mut self,
        from: &[u8],
        to: Option<&[u8]>,
        inside: impl Fn(&[u8]) -> bool,
    ) -> Result<bool, StoreError> {
        let mut count = 0;
        // The first byte tells heads from chunks; without an end the range ends where that kind does.
        for kind in [values::head_key(&[])[0], values::further_key(&[], 0)[0]] {
            let bounded = |key: &[u8]| [&[kind], key].concat();
            let end = to.map_or(vec![kind + 1], bounded);
            let mut range = self.stored().range(bounded(from)..end);
            while let Some(record) = if to.is_none() { range.next_back() } else { range.next() } {
                let (key, head) = record.map_err(|source| values::failed(self.tree, from, source))?;
                if inside(values::user_key(&key)) {
                    if values::is_head(&key) {
                        self.summary().subtract(&head);
                    }
                    self.bytes += key.len();
                    self.batch.remove(key);
                    count += 1;
                }
                if count == REMOVALS_MAX {
                    self.apply_batch()?;
                    return Ok(false);
                }
            }
            self.apply_batch()?;
        }
        Ok(true)
    }

    /// The store keeps a batch whole over a crash, and so a tree and its summary together.
    fn apply_batch(&mut self) -> Result<(), StoreError> {
        if self.bytes > 0 {
            let mut batch = std::mem::take(&mut self.batch);
            self.bytes = 0;
            self.heads.clear();
            let summary = self.summary();
            summary.change += 1;
            batch.insert(summary::KEY, &summary.encode());
            let applied = self.stored().apply_batch(batch);
            applied.map_err(|source| values::failed(self.tree, &[], source))?;
        }
        Ok(())
    }
}

/// The first key after all that start with a prefix, or none when there is no such key.
pub fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let kept = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut end = prefix[..=kept].to_vec();
    end[kept] += 1;
    Some(end)
}
