# work.awk - Associative arrays, string building and field splitting.
function random(n) { seed = (seed * 16807) % 2147483647; return seed % n }
BEGIN {
  seed = 99
  for (i = 0; i < 400000; i++) {
    key = sprintf("%x", random(60000))
    table[key] = table[key] substr("abcdefghijklmnop", 1 + random(8), random(9))
    if (length(table[key]) > 200) delete table[key]
  }
  for (key in table) { count++; total += length(table[key]); if (table[key] ~ /abcd.*efgh/) matched++ }
  print "table", count, total, matched
  for (i = 0; i < 60000; i++) line = line " " random(1000)
  n = split(line, parts, " ")
  for (i = 1; i <= n; i++) sum += parts[i]
  print "split", n, sum, gsub(/1/, "one", line), length(line)
}
{ words += NF; $2 = $2 "-" NR; bytes += length($0); if (NR % 20000 == 0) print toupper($0) }
END { print "fields", words, bytes }
