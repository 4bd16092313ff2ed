//! Merkle trees over the hashes of events (RFC 6962 §2.1): one hash for many events, and a short path from each to it.
//!
//! Leaves and nodes are hashed under different first bytes, so that a node can never pass for an event.

use super::hex::Hash;
use sha2::{Digest, Sha256};

/// The hash of a leaf: of `0x00` and the event's hash.
pub fn leaf(event_hash: &Hash) -> Hash {
    Sha256::new().chain_update([0]).chain_update(event_hash).finalize().into()
}

/// The hash of a node: of `0x01` and its two children.
fn node(left: &Hash, right: &Hash) -> Hash {
    Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into()
}

/// The root of a tree that grows leaf by leaf; it remembers one hash a level.
#[derive(Debug, Clone, Default)]
pub struct Growing {
    /// Full subtrees, from the left, each with its number of leaves.
    subtrees: Vec<(u64, Hash)>,
}

impl Growing {
    /// Adds the hash of an event.
    pub fn push(&mut self, event_hash: &Hash) {
        let (mut size, mut hash) = (1, leaf(event_hash));
        while let Some((left_size, left)) = self.subtrees.pop_if(|(left_size, _)| *left_size == size) {
            hash = node(&left, &hash);
            size += left_size;
        }
        self.subtrees.push((size, hash));
    }

    /// The root; none without leaves.
    pub fn root(&self) -> Option<Hash> {
        let (last, earlier) = self.subtrees.split_last()?;
        Some(earlier.iter().rev().fold(last.1, |right, (_, left)| node(left, &right)))
    }
}

/// A whole tree, for paths.
#[derive(Debug)]
pub struct Tree {
    /// The leaves first, then level by level up to the root. A node without a sibling goes up as it is.
    levels: Vec<Vec<Hash>>,
}

impl Tree {
    /// Over the hashes of events.
    pub fn of(event_hashes: &[Hash]) -> Self {
        let mut level: Vec<Hash> = event_hashes.iter().map(leaf).collect();
        let mut levels = Vec::new();
        while level.len() > 1 {
            let (pairs, rest) = level.as_chunks::<2>();
            let above = pairs.iter().map(|[left, right]| node(left, right)).chain(rest.iter().copied()).collect();
            levels.push(std::mem::replace(&mut level, above));
        }
        levels.push(level);
        Self { levels }
    }

    /// The root; none without leaves.
    pub fn root(&self) -> Option<Hash> {
        self.levels.last()?.first().copied()
    }

    /// The hashes that lead from the leaf at this place to the root.
    pub fn path(&self, mut index: usize) -> Vec<Hash> {
        let mut path = Vec::new();
        for level in &self.levels {
            path.extend(level.get(index ^ 1).filter(|_| level.len() > 1));
            index /= 2;
        }
        path
    }
}

/// The root that this path leads to from the event at `index` of `size` (RFC 9162 §2.1.3.2); none if the path is not of
/// such a tree.
pub fn root_of_path(event_hash: &Hash, index: u64, size: u64, path: &[Hash]) -> Option<Hash> {
    let mut last = size.checked_sub(1)?;
    if index > last {
        return None;
    }
    let (mut index, mut hash) = (index, leaf(event_hash));
    for sibling in path {
        if last == 0 {
            return None;
        }
        if index % 2 == 1 || index == last {
            hash = node(sibling, &hash);
            while index % 2 == 0 && index != 0 {
                index /= 2;
                last /= 2;
            }
        } else {
            hash = node(&hash, sibling);
        }
        index /= 2;
        last /= 2;
    }
    (last == 0).then_some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::hex::encode;
    use proptest::prelude::*;

    fn events(count: usize) -> Vec<Hash> {
        (0..count).map(|number| Sha256::digest(number.to_string()).into()).collect()
    }

    /// The definition of RFC 6962 §2.1, to the letter.
    fn defined(leaves: &[Hash]) -> Hash {
        match leaves {
            [only] => leaf(only),
            more => {
                let split = 1 << (usize::BITS - 1 - (more.len() - 1).leading_zeros());
                node(&defined(&more[..split]), &defined(&more[split..]))
            }
        }
    }

    #[test]
    fn growing_and_whole_trees_have_the_root_of_the_definition() {
        assert_eq!((Growing::default().root(), Tree::of(&[]).root()), (None, None));
        let all = events(70);
        let mut growing = Growing::default();
        for count in 1..=all.len() {
            growing.push(&all[count - 1]);
            let root = Some(defined(&all[..count]));
            assert_eq!((growing.root(), Tree::of(&all[..count]).root()), (root, root), "{count} leaves");
        }
    }

    #[test]
    fn a_leaf_is_not_a_node_and_both_are_as_the_standard_says() {
        // The test vector of a leaf without content would be e3b0...; of one byte 0x00 and nothing: 6e34...
        let of_nothing: Hash = Sha256::digest([0]).into();
        assert_eq!(&encode(&of_nothing)[..8], "6e340b9c");
        let (one, two) = (events(1)[0], events(2)[1]);
        assert_ne!(node(&one, &two), leaf(&one));
        assert_ne!(node(&one, &two), node(&two, &one));
    }

    proptest! {
        #[test]
        fn a_path_leads_to_the_root_from_its_own_event_and_place_only(
            size in 1_usize..80, index in 0_usize..80, other in 0_usize..80, flip in 0_usize..2560,
        ) {
            let (index, other) = (index % size, other % size);
            let all = events(size);
            let tree = Tree::of(&all);
            let root = tree.root();
            let path = tree.path(index);
            let (at, of) = (u64::try_from(index).unwrap(), u64::try_from(size).unwrap());
            prop_assert_eq!(root_of_path(&all[index], at, of, &path), root);
            if other != index {
                prop_assert_ne!(root_of_path(&all[other], at, of, &path), root);
                prop_assert_ne!(root_of_path(&all[index], u64::try_from(other).unwrap(), of, &path), root);
            }
            prop_assert_eq!(root_of_path(&all[index], of, of, &path), None);
            if let Some(last) = path.len().checked_sub(1) {
                prop_assert_ne!(root_of_path(&all[index], at, of, &path[..last]), root);
                let mut bent = path.clone();
                bent[flip % path.len()][flip / 80] ^= 1;
                prop_assert_ne!(root_of_path(&all[index], at, of, &bent), root);
            }
        }
    }
}
