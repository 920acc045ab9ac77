-- work.lua - Tables, strings, closures and coroutines in Lua, with a collector at its busiest.
collectgarbage("generational")
local seed = 42
local function random(n) seed = (seed * 1103515245 + 12345) & 0x7fffffff; return (seed >> 8) % n end
local function fold(hash, text) for i = 1, #text do hash = (hash * 31 + text:byte(i)) & 0xffffffffffff end; return hash end

local slots = {}
for i = 1, 600000 do
  local kind = i % 3
  slots[random(20000)] = kind == 0 and string.rep("ab", random(200)) or kind == 1 and { i, { i * 2 } } or function() return i end
end
local sum = 0
for i = 0, 19999 do
  local v = slots[i]
  if type(v) == "string" then sum = fold(sum, v) elseif type(v) == "table" then sum = sum + v[2][1] elseif v then sum = sum + v() end
end
print("slots", sum)

local words = {}
for i = 1, 100000 do words[i] = string.format("%x", random(1 << 22)) end
table.sort(words)
print("sort", fold(0, table.concat(words, " ")))
print("gsub", fold(0, (table.concat(words, " "):gsub("(%d)(%a)", "%2%1"))))

local threads = {}
for i = 1, 20000 do
  threads[i % 500] = coroutine.wrap(function() local t = {}; for j = 1, 20 do t[j] = i * j; coroutine.yield(#t) end end)
  sum = sum + threads[i % 500]()
end
collectgarbage()
print("coroutines", sum)
