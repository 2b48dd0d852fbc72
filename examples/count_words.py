"""Counts the words of the text in sys.argv[1], case and punctuation aside, and reports them as this Run's outputs."""

import os
import re
import sys
from collections import Counter

text = sys.argv[1]
words = [word for word in (match.strip("'-") for match in re.findall(r"[a-z'-]+", text.lower())) if word]
counts = Counter(words)

with open(os.environ["KRUNTIME_OUTPUTS"], "a") as outputs:
    print(f"words={len(words)}", file=outputs)
    print("counts=" + " ".join(f"{word}:{count}" for word, count in sorted(counts.items())), file=outputs)
print(text.splitlines()[0])
