"""objects.py - What scripts do: dictionaries, lists, tuples, strings, JSON, built up and let go."""

import json
import sys


class Node:
    def __init__(self, left, right):
        self.left, self.right = left, right


def tree(depth):
    return Node(tree(depth - 1), tree(depth - 1)) if depth else Node(None, None)


def size(node):
    return 1 + (size(node.left) + size(node.right) if node.left else 0)


def main(scale):
    total = 0
    for turn in range(max(1, int(8 * scale))):
        records = [
            {"id": i, "name": f"name {i * 7919 % 10007}", "tags": [str(i), str(i + 1)], "score": i / 3}
            for i in range(20000)
        ]
        text = json.dumps(records)
        again = json.loads(text)
        total += sum(len(record["name"]) for record in again)
        groups = {}
        for record in again:
            groups.setdefault(record["name"][:7], []).append((record["id"], record["score"]))
        total += max(len(group) for group in groups.values())
        words = " ".join(record["name"].upper() for record in records).split()
        total += len(sorted(set(words)))
        total += size(tree(15))
        total += len(str(3 ** (4000 + turn)))
    print(total)


main(float(sys.argv[1]))
