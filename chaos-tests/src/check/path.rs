//! Paths of nodes: `rounds[1]/regions[0]/train` is an instance of the definition `rounds/regions/train`.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Included};

/// The path of the definition: without the places of iterations.
pub(super) fn definition(instance: &str) -> String {
    let parts = instance.split('/').map(|part| part.split_once('[').map_or(part, |(id, _)| id));
    parts.collect::<Vec<_>>().join("/")
}

/// Where the node that an instance needs is to be found: in the same iterations of the composites that hold both. So
/// `rounds[1]/b`, which needs `rounds/a`, needs `rounds[1]/a`. None when no composite around the instance holds it.
pub(super) fn needed(instance: &str, need: &str) -> Option<String> {
    let (around, id) = need.rsplit_once('/').unwrap_or(("", need));
    let depth = if around.is_empty() { 0 } else { around.split('/').count() };
    let mut parts: Vec<&str> = instance.split('/').take(depth).collect();
    if definition(&parts.join("/")) != around {
        return None;
    }
    parts.push(id);
    Some(parts.join("/"))
}

/// The entry of a node, if there is one, and those of all nodes beneath it.
pub(super) fn beneath<'m, T>(
    map: &'m BTreeMap<&str, T>,
    node: &str,
) -> impl Iterator<Item = (&'m str, &'m T)> + use<'m, T> {
    // `0` follows `/`, and `\` follows `[`: only the children's own paths lie between.
    let children =
        [("/", "0"), ("[", "\\")].map(|(from, to)| (format!("{node}{from}"), format!("{node}{to}")));
    let [scopeless, scopes] = children;
    map.get_key_value(node)
        .into_iter()
        .chain(map.range::<str, _>((Included(scopeless.0.as_str()), Excluded(scopeless.1.as_str()))))
        .chain(map.range::<str, _>((Included(scopes.0.as_str()), Excluded(scopes.1.as_str()))))
        .map(|(path, entry)| (*path, entry))
}

/// The composites around an instance that are repeated one after the other: path of the composite's node, and iteration.
pub(super) fn iterations(instance: &str) -> Vec<(&str, u64)> {
    let mut found = Vec::new();
    let mut begin = 0;
    for part in instance.split('/') {
        if let Some((id, place)) = part.split_once('[')
            && let Ok(place) = place.trim_end_matches(']').parse()
        {
            found.push((&instance[..begin + id.len()], place));
        }
        begin += part.len() + 1;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_need_is_in_the_same_iteration() {
        assert_eq!(definition("rounds[1]/regions[0]/train"), "rounds/regions/train");
        assert_eq!(needed("rounds[1]/b", "rounds/a").as_deref(), Some("rounds[1]/a"));
        assert_eq!(needed("rounds[1]/b", "first").as_deref(), Some("first"));
        assert_eq!(needed("rounds[1]/regions[2]/x", "rounds/a").as_deref(), Some("rounds[1]/a"));
        assert_eq!(needed("rounds[1]/b", "other/a"), None);
        assert_eq!(needed("b", "other/a"), None);
    }

    #[test]
    fn what_lies_beneath_a_node_and_nothing_else() {
        let paths = ["fan", "fan/x", "fan0", "fan[0]/one", "fan[10]/one", "fan_out", "fans/a", "fa"];
        let map: BTreeMap<&str, ()> = paths.into_iter().map(|path| (path, ())).collect();
        let found: Vec<&str> = beneath(&map, "fan").map(|(path, ())| path).collect();
        assert_eq!(found, ["fan", "fan/x", "fan[0]/one", "fan[10]/one"]);
    }

    #[test]
    fn iterations_name_their_composite() {
        assert_eq!(iterations("a[1]/b/c[22]/d"), [("a", 1), ("a[1]/b/c", 22)]);
        assert!(iterations("a/b").is_empty());
    }
}
