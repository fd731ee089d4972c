//! Paths of nodes, as people write them: `rounds[1]/regions[0]/train`. Built from the records and found in them; nothing
//! is stored.

use meson_engine::State;
use meson_engine::ids::{NodeNo, ROOT, ScopeKey};
use meson_engine::record::Run;

/// The path of a node.
pub fn path_of(state: &State, run: &Run, no: NodeNo) -> String {
    let mut parts = Vec::new();
    let mut suffix = String::new();
    let mut no = no;
    while let (Some(node), Some(planned)) = (run.nodes.get(&no), state.planned(run, no)) {
        parts.push(format!("{}{suffix}", planned.id));
        suffix = format!("[{}]", node.index);
        if node.scope() == ROOT {
            break;
        }
        no = node.parent;
    }
    parts.reverse();
    parts.join("/")
}

/// The node of a path.
pub fn find(state: &State, run: &Run, path: &str) -> Option<NodeNo> {
    let mut key: ScopeKey = ROOT;
    let mut parts = path.split('/').peekable();
    while let Some(part) = parts.next() {
        let (id, index) = split(part)?;
        let scope = run.scopes.get(&key)?;
        let body = state.plan(run, scope.pin)?.bodies.get(scope.body as usize)?;
        let place = body.nodes.iter().position(|planned| planned.id == id)?;
        let no = scope.first + place as u32;
        match (parts.peek(), index) {
            (None, None) => return Some(no),
            (Some(_), Some(index)) => key = (no, index),
            (None, Some(_)) | (Some(_), None) => return None,
        }
    }
    None
}

/// `rounds[1]` is an id and an index.
fn split(part: &str) -> Option<(&str, Option<u32>)> {
    match part.split_once('[') {
        None => Some((part, None)),
        Some((id, rest)) => Some((id, Some(rest.strip_suffix(']')?.parse().ok()?))),
    }
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn parts_are_ids_with_or_without_an_index() {
        assert_eq!(split("train"), Some(("train", None)));
        assert_eq!(split("rounds[12]"), Some(("rounds", Some(12))));
        assert_eq!(split("rounds[x]"), None);
        assert_eq!(split("rounds[1"), None);
    }
}
