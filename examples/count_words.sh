# Counts the words of the text in $1, case and punctuation aside, and reports them as this Run's outputs.
set -eo pipefail

words=$(tr -cs "A-Za-z'-" '\n' <<< "$1" | tr 'A-Z' 'a-z' | sed -E "s/^['-]+//; s/['-]+$//; /^$/d" | LC_ALL=C sort)
counts=$(uniq -c <<< "$words" | awk '{printf "%s%s:%s", separator, $2, $1; separator = " "}')

{
  echo "words=$(wc -l <<< "$words")"
  echo "counts=$counts"
} >> "$KRUNTIME_OUTPUTS"
echo "$(head -n 1 <<< "$1")"
