# work.rb - Strings, hashes, threads, fibers, compaction and forks in Ruby.
require "digest"; require "json"; require "zlib"; require "set"

def words(seed, count)
  Array.new(count) { seed = (seed * 1103515245 + 12345) & 0x7fffffff; (seed >> 8).to_s(36) }
end

def churn(seed)
  table = Hash.new { |h, k| h[k] = [] }
  words(seed, 60000).each_with_index { |w, i| table[w[0, 2]] << w * (i % 6); table.delete(w[1, 2]) if i % 9 == 0 }
  Digest::SHA256.hexdigest(table.sort.inspect)[0, 16]
end

puts "churn #{churn(1)}"
puts "threads #{(2..5).map { |n| Thread.new { churn(n) } }.map(&:value).join(' ')}"
text = words(3, 150000).join(" ")
puts "regex #{text.scan(/\b[0-9]+[a-z]+\b/).size} #{Digest::SHA256.hexdigest(text.gsub(/([0-9])([a-z])/, '\2\1'))[0, 16]}"
puts "json #{JSON.parse(JSON.generate(words(4, 60000).each_slice(3).to_a)).flatten.to_set.size}"
puts "zlib #{Zlib::Inflate.inflate(Zlib::Deflate.deflate(text, 9)) == text}"
puts "fibers #{(1..3000).map { |n| Fiber.new { Fiber.yield('x' * n); n } }.sum { |f| f.resume.size + f.resume }}"
GC.compact
3.times do |n|
  reader, writer = IO.pipe
  pid = fork { writer.puts churn(n); exit!(0) }
  writer.close
  puts "fork #{reader.read.strip} #{Process.wait2(pid)[1].exitstatus}"
end
puts "ractor #{[Ractor.new { (1..50000).map { |i| 'y' * (i % 50) }.sum(&:size) }, Ractor.new { (1..50000).map(&:to_s).join.size }].map(&:take)}"
