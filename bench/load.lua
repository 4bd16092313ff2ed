-- wrk's side: sends the requests of a file one after the other, and prints what it measured as JSON.
--
-- The first line of the file is the head of every request: method, path, then header fields, separated by tabs. Every
-- further line is a body, or the bearer token of a request without one if the method is GET; without a line the requests
-- have none. Requests are put together before the clock starts.

local requests = {}
local at = 0

function init(args)
  local head
  for line in io.lines(args[1]) do
    if not head then
      head = {}
      for word in line:gmatch("[^\t]+") do head[#head + 1] = word end
      wrk.method = head[1]
      for index = 3, #head do
        local name, value = head[index]:match("^([^:]+): (.*)$")
        wrk.headers[name] = value
      end
    else
      if wrk.method == "GET" then
        wrk.headers["Authorization"] = "Bearer " .. line
        line = nil
      end
      requests[#requests + 1] = wrk.format(nil, head[2], nil, line)
    end
  end
  if #requests == 0 then requests[1] = wrk.format(nil, head[2]) end
  -- Begin anywhere, so that a later run does not send what the one before did in the same order.
  at = tonumber(args[2] or "0") % #requests
end

function request()
  at = at % #requests + 1
  return requests[at]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '\n{"requests":%d,"micros":%d,"p50":%d,"p99":%d,"p999":%d,"max":%d,"failed":%d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), latency:percentile(99.9),
    latency.max, errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
